//! Multipart uploads: their parts are invisible until the upload is completed.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyPartResult, CopySource, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Result, s3_error};
use uuid::Uuid;

use super::objects::{COPIED_AT_ONCE, Shelves, collected, tag};
use super::{BucketState, Held};

/// Minimum size of every part but the last, in bytes.
const LEAST: usize = 5 << 20;

/// An upload in progress.
pub(super) struct Unfinished {
    key: String,
    media_type: Option<String>,
    /// The parts by number, each with its `ETag`.
    parts: BTreeMap<i32, (String, Bytes)>,
}

/// The upload with this id and key.
fn found<'a>(state: &'a mut BucketState, id: &str, key: &str) -> S3Result<&'a mut Unfinished> {
    let unfinished = state.unfinished.get_mut(id).filter(|unfinished| unfinished.key == key);
    unfinished.ok_or_else(|| s3_error!(NoSuchUpload))
}

impl Shelves {
    pub(super) fn begin(&self, input: CreateMultipartUploadInput) -> S3Result<CreateMultipartUploadOutput> {
        let CreateMultipartUploadInput { bucket, key, content_type, .. } = input;
        let id = Uuid::now_v7().simple().to_string();
        let unfinished = Unfinished { key: key.clone(), media_type: content_type, parts: BTreeMap::new() };
        self.with(&bucket, |state| {
            state.unfinished.insert(id.clone(), unfinished);
            Ok(())
        })?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            ..Default::default()
        })
    }

    pub(super) async fn take_part(&self, input: UploadPartInput) -> S3Result<UploadPartOutput> {
        let UploadPartInput { bucket, key, upload_id, part_number, body, .. } = input;
        let bytes = collected(body).await?;
        let version = Uuid::now_v7().simple().to_string();
        let e_tag = Some(tag(&version));
        self.with(&bucket, |state| {
            found(state, &upload_id, &key)?.parts.insert(part_number, (version, bytes));
            Ok(())
        })?;
        Ok(UploadPartOutput { e_tag, ..Default::default() })
    }

    pub(super) fn copy_part(&self, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
        let UploadPartCopyInput { bucket, key, upload_id, part_number, copy_source, .. } = input;
        let CopySource::Bucket { bucket: source, key: from, .. } = copy_source else {
            return Err(s3_error!(NotImplemented, "copying from elsewhere"));
        };
        let whole = self.object(&source, &from)?.bytes;
        let range = input.copy_source_range.as_deref().and_then(|range| range.strip_prefix("bytes="));
        let range = range.and_then(|range| range.split_once('-'));
        let range = range.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        let (first, last): (usize, usize) = range.ok_or_else(|| s3_error!(InvalidArgument))?;
        if first > last || last >= whole.len() {
            return Err(s3_error!(InvalidRange));
        }
        if last - first >= COPIED_AT_ONCE {
            return Err(s3_error!(InvalidRequest, "too much for one request"));
        }
        let version = Uuid::now_v7().simple().to_string();
        let result = CopyPartResult { e_tag: Some(tag(&version)), ..Default::default() };
        self.with(&bucket, |state| {
            found(state, &upload_id, &key)?.parts.insert(part_number, (version, whole.slice(first..=last)));
            Ok(())
        })?;
        Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
    }

    pub(super) fn complete(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let CompleteMultipartUploadInput { bucket, key, upload_id, multipart_upload, .. } = input;
        let named = multipart_upload.and_then(|named| named.parts).unwrap_or_default();
        self.with(&bucket, |state| {
            let unfinished = found(state, &upload_id, &key)?;
            let mut bytes = Vec::new();
            for (n, part) in named.iter().enumerate() {
                let number = part.part_number.unwrap_or_default();
                if n > 0 && named[n - 1].part_number >= part.part_number {
                    return Err(s3_error!(InvalidPartOrder));
                }
                let held =
                    unfinished.parts.get(&number).filter(|(version, _)| part.e_tag == Some(tag(version)));
                let (_, held) = held.ok_or_else(|| s3_error!(InvalidPart))?;
                if held.len() < LEAST && n + 1 < named.len() {
                    return Err(s3_error!(EntityTooSmall));
                }
                bytes.extend_from_slice(held);
            }
            let held = Held::new(bytes, unfinished.media_type.clone());
            let e_tag = Some(tag(&held.version));
            state.unfinished.remove(&upload_id);
            state.contents.insert(key.clone(), held);
            Ok(CompleteMultipartUploadOutput { e_tag, key: Some(key), ..Default::default() })
        })
    }

    pub(super) fn abort(&self, input: &AbortMultipartUploadInput) -> S3Result<AbortMultipartUploadOutput> {
        self.with(&input.bucket, |state| {
            found(state, &input.upload_id, &input.key)?;
            state.unfinished.remove(&input.upload_id);
            Ok(AbortMultipartUploadOutput::default())
        })
    }
}
