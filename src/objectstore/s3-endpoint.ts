// What follows from the endpoint that is configured: is it AWS, which region is it, and where does the name
// of the bucket go.
import type { S3Settings } from './settings.ts';

export interface EndpointShape {
  readonly isAws: boolean;
  readonly region: string;
  /** undefined = what the SDK knows of the region. */
  readonly url: string | undefined;
  readonly isPathStyle: boolean;
}

const AWS_HOST = /\.amazonaws\.com(\.cn)?$/;
/** The usual hosts: with the region in them, dual stack or not, or without. */
const USUAL_HOST = /^s3[.-](?:dualstack\.)?(?:([a-z]{2}(?:-[a-z]+)+-\d)\.)?amazonaws\.com(?:\.cn)?$/;
const REGION_IN_HOST = /\.s3\.([a-z0-9-]+)\.vpce\.amazonaws\.com/;
/** Others that want the bucket in the host name. */
const HOST_STYLE = /(^|\.)storage\.googleapis\.com$|\.aliyuncs\.com$/;
const REGION = 'us-east-1';
const LOOKUP_HOST = 1;
const LOOKUP_PATH = 2;

export function endpointShape(
  settings: Pick<
    S3Settings,
    'endpoint' | 'region' | 'bucket' | 'insecure' | 'forcePathStyle' | 'bucketLookup'
  >,
): EndpointShape {
  const { endpoint, bucket, insecure, forcePathStyle, bucketLookup } = settings;
  const scheme = insecure && !endpoint.startsWith('https://') ? 'http' : 'https';
  const host = endpoint.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  const name = host.replace(/:\d+$/, '');
  const isAws = host === '' || AWS_HOST.test(name);
  const usual = USUAL_HOST.exec(name);
  const found = usual?.[1] ?? REGION_IN_HOST.exec(name)?.[1];
  const isUsual = host === '' || usual !== null;
  return {
    isAws,
    region: settings.region || (found ?? REGION),
    url: isUsual ? undefined : `${scheme}://${host}`,
    isPathStyle: forcePathStyle || isInPath(bucketLookup, bucket, isAws || HOST_STYLE.test(name)),
  };
}

function isInPath(lookup: number, bucket: string, isHostStyle: boolean): boolean {
  if (lookup === LOOKUP_HOST) return false;
  // A name with a dot fits no certificate.
  return lookup === LOOKUP_PATH || !isHostStyle || bucket.includes('.');
}
