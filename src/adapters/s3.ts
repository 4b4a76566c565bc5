/** The door of the S3 adapter; everything behind it is in `s3/`. */
export { openS3Destination } from "./s3/destination.ts";
export { type Deadlines, type S3Destination, type S3Options, usualDeadlines } from "./s3/options.ts";
