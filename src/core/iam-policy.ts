/** The least an AWS policy must allow for what a configuration asks of its bucket. */

export interface IamQuestion {
  bucket: string;
  /** Without slashes at its ends; "" for the whole bucket. */
  prefix: string;
  region: string | null;
  /** Set when objects are encrypted with this key: an id, an ARN or an alias. */
  kmsKeyId: string | null;
  /** Objects are tagged with who wore the sensor. */
  tags: boolean;
}

interface Statement {
  Sid: string;
  Effect: "Allow";
  Action: string[];
  Resource: string;
  Condition?: Record<string, Record<string, string[]>>;
}

export interface IamPolicy {
  Version: "2012-10-17";
  Statement: Statement[];
}

/** `Upload` is enough for uploading; the other statements say by their name what is lost without them. */
export function iamPolicy({ bucket, prefix, region, kmsKeyId, tags }: IamQuestion): IamPolicy {
  const partition = region?.startsWith("cn-") ? "aws-cn" : region?.startsWith("us-gov-") ? "aws-us-gov" : "aws";
  const bucketArn = `arn:${partition}:s3:::${bucket}`;
  const objects = `${bucketArn}/${prefix === "" ? "*" : `${prefix}/*`}`;
  const allow = (Sid: string, Action: string[], Resource: string): Statement => ({
    Sid,
    Effect: "Allow",
    Action,
    Resource,
  });
  return {
    Version: "2012-10-17",
    Statement: [
      allow("Upload", ["s3:PutObject"], objects),
      allow("ResumeAndCleanUp", ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], objects),
      allow("CompareAndVerify", ["s3:GetObject"], objects),
      // No condition on s3:prefix: listings begin after a key, not below a prefix, and would be refused.
      allow("SeeWhatIsThere", ["s3:ListBucket", "s3:ListBucketMultipartUploads"], bucketArn),
      ...(tags ? [allow("TagRecordings", ["s3:GetObjectTagging", "s3:PutObjectTagging"], objects)] : []),
      ...(kmsKeyId === null ? [] : [kmsStatement(kmsKeyId, partition, region)]),
    ],
  };
}

/** Uploads in parts decrypt what they encrypted. An alias is no resource of its own, so it becomes a condition. */
function kmsStatement(keyId: string, partition: string, region: string | null): Statement {
  const Action = ["kms:GenerateDataKey", "kms:Decrypt"];
  const statement = { Sid: "EncryptWithKey", Effect: "Allow", Action } as const;
  if (keyId.startsWith("arn:") && !keyId.includes(":alias/")) return { ...statement, Resource: keyId };
  const keys = `arn:${partition}:kms:${region ?? "*"}:*:key/`;
  const alias = /alias\/.*$/.exec(keyId)?.[0];
  if (alias === undefined) return { ...statement, Resource: keys + keyId };
  return {
    ...statement,
    Resource: `${keys}*`,
    Condition: { "ForAnyValue:StringEquals": { "kms:ResourceAliases": [alias] } },
  };
}
