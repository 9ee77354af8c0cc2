//! Object operations of a bucket. Keys are listed in bytewise order, page by page.

use std::time::SystemTime;

use async_trait::async_trait;
use futures::TryStreamExt;
use hyper::body::Bytes;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, ETag,
    ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
    UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

use super::{BucketContents, BucketState, Buckets, Held, lock};

/// Maximum number of keys in a listing, as in S3.
const PAGE: usize = 1000;
/// Maximum size of a copy in one request, in bytes. S3 copies up to 5 GiB, but slowly.
pub(super) const COPIED_AT_ONCE: usize = 64 << 20;

/// The buckets as an `s3s` service.
pub(super) struct Shelves(pub(super) Buckets);

impl Shelves {
    pub(super) fn with<T>(
        &self,
        bucket: &str,
        act: impl FnOnce(&mut BucketState) -> S3Result<T>,
    ) -> S3Result<T> {
        match lock(&self.0).get_mut(bucket) {
            Some(state) => act(state),
            None => Err(s3_error!(NoSuchBucket)),
        }
    }

    pub(super) fn object(&self, bucket: &str, key: &str) -> S3Result<Held> {
        self.with(bucket, |state| state.contents.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey)))
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

fn length(bytes: &[u8]) -> Option<i64> {
    i64::try_from(bytes.len()).ok()
}

pub(super) fn tag(version: &str) -> ETag {
    ETag::Strong(version.to_owned())
}

/// Checks the condition of a request against the object.
fn demand(held: &Held, condition: Option<&ETagCondition>) -> S3Result<()> {
    match condition {
        Some(ETagCondition::ETag(asked)) if asked.value() != held.version => {
            Err(s3_error!(PreconditionFailed))
        }
        _ => Ok(()),
    }
}

/// The whole body of a request.
pub(super) async fn collected(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut bytes = Vec::new();
    if let Some(mut body) = body {
        let broken = |_| s3_error!(IncompleteBody);
        while let Some(part) = body.try_next().await.map_err(broken)? {
            bytes.extend_from_slice(&part);
        }
    }
    Ok(bytes.into())
}

#[async_trait]
impl S3 for Shelves {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { bucket, key, range, if_match, .. } = request.input;
        let held = self.object(&bucket, &key)?;
        demand(&held, if_match.as_ref())?;
        let whole = held.bytes;
        let mut output = GetObjectOutput {
            last_modified: Some(now()),
            e_tag: Some(tag(&held.version)),
            content_type: held.media_type,
            ..Default::default()
        };
        let bytes = match range {
            None => whole,
            Some(range) => {
                let part = range.check(whole.len() as u64).map_err(|_| s3_error!(InvalidRange))?;
                output.content_range = Some(format!("bytes {}-{}/{}", part.start, part.end - 1, whole.len()));
                let at = |n| usize::try_from(n).unwrap_or(usize::MAX);
                whole.slice(at(part.start)..at(part.end))
            }
        };
        output.content_length = length(&bytes);
        output.body = Some(StreamingBlob::from(Body::from(bytes)));
        Ok(S3Response::new(output))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let held = self.object(&request.input.bucket, &request.input.key)?;
        let output = HeadObjectOutput {
            content_length: length(&held.bytes),
            content_type: held.media_type,
            e_tag: Some(tag(&held.version)),
            last_modified: Some(now()),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let PutObjectInput { bucket, key, body, content_type, .. } = request.input;
        let held = Held::new(collected(body).await?, content_type);
        let e_tag = Some(tag(&held.version));
        self.with(&bucket, |state| {
            state.contents.insert(key, held);
            Ok(())
        })?;
        Ok(S3Response::new(PutObjectOutput { e_tag, ..Default::default() }))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let CopyObjectInput { bucket, key, copy_source, copy_source_if_match, .. } = request.input;
        let CopySource::Bucket { bucket: source, key: from, .. } = copy_source else {
            return Err(s3_error!(NotImplemented, "copying from elsewhere"));
        };
        let held = self.object(&source, &from)?;
        demand(&held, copy_source_if_match.as_ref())?;
        if held.bytes.len() > COPIED_AT_ONCE {
            return Err(s3_error!(InvalidRequest, "too much for one request"));
        }
        let copy = Held::new(held.bytes, held.media_type);
        let result = CopyObjectResult {
            e_tag: Some(tag(&copy.version)),
            last_modified: Some(now()),
            ..Default::default()
        };
        self.with(&bucket, |state| {
            state.contents.insert(key, copy);
            Ok(())
        })?;
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.begin(request.input).map(S3Response::new)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.take_part(request.input).await.map(S3Response::new)
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.copy_part(request.input).map(S3Response::new)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.complete(request.input).map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.abort(&request.input).map(S3Response::new)
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.with(&request.input.bucket, |state| {
            state.contents.remove(&request.input.key);
            Ok(())
        })?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "listing by folder"));
        }
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.or(input.start_after);
        let most = input.max_keys.and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE).min(PAGE);
        let (contents, more) = self.with(&input.bucket, |state| {
            let shown = state.shown.as_ref().unwrap_or(&state.contents);
            Ok(page(shown, &prefix, after.as_deref(), most))
        })?;
        let next = contents.last().and_then(|object| object.key.clone()).filter(|_| more);
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len()).ok(),
            is_truncated: Some(more),
            next_continuation_token: next,
            contents: Some(contents),
            name: Some(input.bucket),
            prefix: Some(prefix),
            ..Default::default()
        }))
    }
}

/// Up to `most` objects after a key, and whether there are more.
fn page(contents: &BucketContents, prefix: &str, after: Option<&str>, most: usize) -> (Vec<Object>, bool) {
    let due = |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
    let mut matching = contents.iter().filter(|(key, _)| due(key));
    let object = |(key, held): (&String, &Held)| Object {
        key: Some(key.clone()),
        size: length(&held.bytes),
        last_modified: Some(now()),
        ..Default::default()
    };
    let objects = matching.by_ref().take(most).map(object).collect();
    (objects, matching.next().is_some())
}
