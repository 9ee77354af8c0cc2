//! In-memory rows of uploads.

use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::ids::UploadId;
use panaversity_model::ports::Uploads;
use panaversity_model::upload::{Announced, Upload};
use panaversity_model::{Fault, Timestamp};

use super::MemoryJournal;

#[async_trait]
impl Uploads for MemoryJournal {
    async fn open_upload(&self, announced: &Announced, valid_for: Duration) -> Result<Upload, Fault> {
        let mut state = self.state();
        let created_at = state.now();
        let expires_at = created_at.after(valid_for);
        let upload = Upload { announced: announced.clone(), created_at, expires_at, done: None };
        state.uploads.insert(announced.id, (upload.clone(), false));
        Ok(upload)
    }

    async fn upload(&self, id: UploadId) -> Result<Option<Upload>, Fault> {
        Ok(self.state().uploads.get(&id).map(|(upload, _)| upload.clone()))
    }

    async fn uploads_over(
        &self,
        expired_since: Timestamp,
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadId>, Fault> {
        let state = self.state();
        let over = state.uploads.iter().filter(|(id, (upload, cleared))| {
            upload.expires_at <= expired_since && !cleared && after.is_none_or(|after| **id > after)
        });
        Ok(over.map(|(id, _)| *id).take(limit).collect())
    }

    async fn clear_uploads(&self, ids: &[UploadId]) -> Result<(), Fault> {
        let mut state = self.state();
        for (_, (_, cleared)) in state.uploads.iter_mut().filter(|(id, _)| ids.contains(id)) {
            *cleared = true;
        }
        Ok(())
    }

    async fn forget_uploads(&self, expired_since: Timestamp) -> Result<u64, Fault> {
        let mut state = self.state();
        let before = state.uploads.len();
        state.uploads.retain(|_, (upload, cleared)| !*cleared || upload.expires_at > expired_since);
        Ok((before - state.uploads.len()) as u64)
    }

    async fn uncleared(&self, ids: &[UploadId]) -> Result<Vec<UploadId>, Fault> {
        let state = self.state();
        let known = |id: &&UploadId| state.uploads.get(id).is_some_and(|(_, cleared)| !cleared);
        Ok(ids.iter().filter(known).copied().collect())
    }
}
