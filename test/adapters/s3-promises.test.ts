import { describeDestinationPromises } from "../support/destination-promises.ts";
import { bucket, MiB, openFixture } from "./s3-fixture.ts";

async function open() {
  const fixture = await openFixture();
  const { s3 } = fixture;
  return {
    destination: fixture.destination,
    read: async (key: string) => s3.object(bucket, key)?.bytes() ?? null,
    plant: async (key: string, bytes: Uint8Array) => s3.plant(bucket, key, bytes),
    keys: async () => [...s3.keys(bucket)],
    close: () => fixture.close(),
  };
}

describeDestinationPromises("S3, the strict server", open, { largeBytes: 20 * MiB });
