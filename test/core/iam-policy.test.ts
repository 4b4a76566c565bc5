import { describe, expect, it } from "vitest";
import { iamPolicy } from "../../src/core/iam-policy.ts";

const question: Parameters<typeof iamPolicy>[0] = {
  bucket: "reef",
  prefix: "C2/north",
  region: "eu-west-1",
  kmsKeyId: null,
  tags: false,
};
const statement = (over: Partial<typeof question>, sid: string) =>
  iamPolicy({ ...question, ...over }).Statement.find(({ Sid }) => Sid === sid);

describe("the IAM policy", () => {
  it("allows to write below the prefix, and nothing that this configuration does not ask for", () => {
    const policy = iamPolicy(question);
    expect(statement({}, "Upload")).toEqual({
      Sid: "Upload",
      Effect: "Allow",
      Action: ["s3:PutObject"],
      Resource: "arn:aws:s3:::reef/C2/north/*",
    });
    const actions = policy.Statement.flatMap(({ Action }) => Action);
    expect(actions.filter((action) => /Delete|\*|Tagging|kms|Bucket(Policy|Acl)/.test(action))).toEqual([]);
    expect(new Set(actions).size).toBe(actions.length);
  });

  it.each([
    ["cn-north-1", "arn:aws-cn:s3:::reef/*"],
    ["us-gov-west-1", "arn:aws-us-gov:s3:::reef/*"],
    [null, "arn:aws:s3:::reef/*"],
  ])("in %s, for a whole bucket: %s", (region, resource) => {
    expect(statement({ region, prefix: "" }, "Upload")).toMatchObject({ Resource: resource });
  });

  it("tags and keys are allowed when they are used", () => {
    expect(statement({ tags: true }, "TagRecordings")?.Action).toEqual(["s3:GetObjectTagging", "s3:PutObjectTagging"]);
    const byId = statement({ kmsKeyId: "1234" }, "EncryptWithKey");
    expect(byId).toMatchObject({ Resource: "arn:aws:kms:eu-west-1:*:key/1234" });
    const arn = "arn:aws:kms:eu-west-1:111122223333:key/1234";
    expect(statement({ kmsKeyId: arn }, "EncryptWithKey")).toMatchObject({ Resource: arn });
    expect(statement({ kmsKeyId: "alias/reef" }, "EncryptWithKey")).toMatchObject({
      Resource: "arn:aws:kms:eu-west-1:*:key/*",
      Condition: { "ForAnyValue:StringEquals": { "kms:ResourceAliases": ["alias/reef"] } },
    });
  });
});
