//! Taking a file in that lies in the tree: a write like any other, recorded in the name of whoever
//! asked for it (R7), with what was last published as its precondition (I8).

use std::path::Path;

use panaversity_model::audit::{Operation, Outcome};
use panaversity_model::drift::Spot;
use panaversity_model::file::MAX_TEXT_BYTES;
use panaversity_model::publication::FileKey;
use panaversity_model::{AgentId, BookPath, ContentHash, Error, Fault, Layer, Refusal, View};

use super::{Remedy, left};
use crate::audit::outcome_of;
use crate::bytes::first_bytes;
use crate::commit::{Content, Wanted};
use crate::service::Service;

/// Largest file that is no text.
const MAX_ASSET_BYTES: usize = 100 << 20;
/// What is text, whatever a book admits beside it.
const TEXT: [&str; 5] = ["md", "mdx", "json", "yml", "yaml"];

impl Service {
    /// Makes a layer hold what lies in the tree at its path. `expected`: what was published there.
    pub(super) async fn adopt(
        &self,
        agent: &AgentId,
        key: &FileKey,
        expected: Option<ContentHash>,
    ) -> Result<Remedy, Fault> {
        let limit = if is_text(&key.path) { MAX_TEXT_BYTES } else { MAX_ASSET_BYTES };
        let Some(mut found) = self.inner.tree.open(&Spot::of(key)).await? else {
            return Ok(left("it went away while it was looked at"));
        };
        let bytes = first_bytes(found.as_mut(), limit + 1).await?;
        if expected.is_some() && self.is_older_version(key, &bytes).await? {
            return Ok(left(
                "it holds an older version, as a late publication leaves it: --repair publishes the newest; \
                 to go back to this one, write it with write_content",
            ));
        }
        let mut call = self.begin(agent.clone(), Operation::Write);
        call.book = Some(key.book.clone());
        call.path = Some(key.path.clone());
        call.layer = key.layer.clone();
        let result = if let Some(refusal) = fault_of(&key.path, &bytes, limit) {
            Err(refusal.into())
        } else {
            let content = Content::Bytes(bytes);
            let wanted = vec![Wanted { path: key.path.clone(), content, expected }];
            self.change(&mut call, &key.book, &key.layer, wanted).await
        };
        let outcome = result.as_ref().map_or_else(outcome_of, |_| Outcome::Success);
        self.record(&call, outcome).await?;
        match result {
            Ok(_) => Ok(Remedy::Adopted),
            Err(Error::Refused(refusal)) => Ok(Remedy::Refused(refusal.to_string())),
            Err(Error::Broken(fault)) => Err(fault),
        }
    }
}

impl Service {
    /// Whether a file held these bytes before. Taken in, they would undo what came after.
    async fn is_older_version(&self, key: &FileKey, bytes: &[u8]) -> Result<bool, Fault> {
        let view = match &key.layer {
            Layer::Base => View::base(),
            Layer::Overlay(user) => View::of(Some(user.clone())),
        };
        let found =
            self.inner.journal.find_version(&key.book, &key.path, &view, ContentHash::of(bytes)).await?;
        Ok(found.is_some_and(|found| found.record.layer == key.layer))
    }
}

fn is_text(path: &BookPath) -> bool {
    let end = Path::new(path.as_str()).extension().and_then(|end| end.to_str());
    !path.is_asset() && end.is_some_and(|end| TEXT.contains(&end))
}

fn fault_of(path: &BookPath, bytes: &[u8], limit: usize) -> Option<Refusal> {
    if bytes.len() > limit {
        return Some(Refusal::TooLarge { what: "content", actual: bytes.len() as u64, limit: limit as u64 });
    }
    (is_text(path) && std::str::from_utf8(bytes).is_err())
        .then(|| Refusal::argument("content", "it is not UTF-8 text"))
}
