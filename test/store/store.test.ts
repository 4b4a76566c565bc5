import { describeStore } from "../suites/store.ts";

describeStore("the store on the embedded database");
