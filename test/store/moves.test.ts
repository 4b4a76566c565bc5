import { describeMoves } from "../suites/moves.ts";

describeMoves("on the embedded database");
