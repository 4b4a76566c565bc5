import { emptyReply, type Handler, xmlReply } from "./exchange.ts";
import { Refusal } from "./refusals.ts";
import { createBucket } from "./world.ts";
import { childText, element, parseXml, s3Document } from "./xml.ts";

const listBuckets: Handler = ({ world }) => {
  const buckets = [...world.buckets.keys()].sort().map((name) => `<Bucket>${element("Name", name)}</Bucket>`);
  const owner = `<Owner>${element("ID", world.ownerId)}</Owner>`;
  return xmlReply(s3Document("ListAllMyBucketsResult", `${owner}<Buckets>${buckets.join("")}</Buckets>`));
};

const createBucketHandler: Handler = async ({ call, world, receiveDocument }) => {
  const text = await receiveDocument();
  const region = text === "" ? undefined : childText(parseXml(text), "LocationConstraint");
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(call.bucket)) throw new Refusal("InvalidBucketName");
  if (world.buckets.has(call.bucket)) throw new Refusal("BucketAlreadyOwnedByYou");
  world.buckets.set(call.bucket, createBucket(call.bucket, region ?? world.region, false));
  return emptyReply(200, { location: `/${call.bucket}` });
};

const deleteBucket: Handler = ({ call, world, bucket }) => {
  if (bucket().objects.size > 0) throw new Refusal("BucketNotEmpty");
  world.buckets.delete(call.bucket);
  return emptyReply(204);
};

const headBucket: Handler = ({ bucket }) => emptyReply(200, { "x-amz-bucket-region": bucket().region });

const getBucketLocation: Handler = ({ bucket }) => {
  const { region } = bucket();
  // us-east-1 is written as an empty element.
  return xmlReply(s3Document("LocationConstraint", region === "us-east-1" ? "" : region));
};

export const bucketHandlers = {
  ListBuckets: listBuckets,
  CreateBucket: createBucketHandler,
  DeleteBucket: deleteBucket,
  HeadBucket: headBucket,
  GetBucketLocation: getBucketLocation,
} satisfies Record<string, Handler>;
