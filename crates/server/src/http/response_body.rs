//! Response body of a download: the stream of a file or an archive, with the permits and the record that
//! it holds. Invariant: a download is in bounded memory, however slowly its client reads.
//!
//! A frame holds its permits until the last of its bytes is dropped: the connection may buffer them long
//! after the stream has ended.

pub(crate) mod throttle;
pub(crate) mod transfer_record;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use panaversity_model::Fault;

use transfer_record::TransferRecord;

/// Body of which the first frame is read and nothing is sent.
pub(crate) struct DownloadBody {
    frames: BoxStream<'static, Result<Bytes, Fault>>,
    record: Option<Arc<TransferRecord>>,
}

impl DownloadBody {
    /// Reads the first of these frames, each with its permits, so that damage at the start is an error and
    /// not a broken download. Every frame keeps the record alive, if there is one.
    pub(crate) async fn begin(
        mut frames: BoxStream<'static, Result<Bytes, Fault>>,
        record: Option<Arc<TransferRecord>>,
    ) -> Result<Self, Fault> {
        let first = frames.try_next().await?;
        Ok(Self { frames: stream::iter(first.map(Ok)).chain(frames).boxed(), record })
    }

    /// Converts it to a body, which is sent from now on.
    pub(crate) fn into_body(self) -> Body {
        let Self { frames, record } = self;
        if let Some(record) = &record {
            record.mark_sent();
        }
        Body::from_stream(frames.map(move |frame| match (frame, &record) {
            (Ok(frame), Some(record)) => Ok(record.counted(frame)),
            (Err(fault), None) => {
                tracing::warn!(target: "panaversity_fs.http", error = %fault, "a download was cut off");
                Err(fault)
            }
            (frame, _) => frame,
        }))
    }
}
