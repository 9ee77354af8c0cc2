//! Adoption of files in the tree: an ordinary write, recorded under the agent that requested the run
//! (R7), with the last published hash as its precondition (I8).

use panaversity_model::audit::Operation;
use panaversity_model::change::Change;
use panaversity_model::permission::Principal;
use panaversity_model::ports::ByteStream;
use panaversity_model::publication::FileKey;
use panaversity_model::storage_listing::TreePath;
use panaversity_model::{AgentId, ContentHash, Error, Fault, Refusal};

use super::{Remedy, left};
use crate::service::Service;
use crate::spool::Spooled;

impl Service {
    /// Commits the file found in the tree at `key` to its layer. `expected`: the hash published there.
    pub(super) async fn adopt(
        &self,
        agent: &AgentId,
        key: &FileKey,
        expected: Option<ContentHash>,
    ) -> Result<Remedy, Fault> {
        let Some(mut found) = self.inner.tree.open(&TreePath::of(key)).await? else {
            return Ok(left("it went away while it was looked at"));
        };
        let ended =
            self.run(self.caller(Principal::unrestricted(agent.clone())), Operation::Write, async |call| {
                let access = call.may_write(key.book.clone(), key.layer.clone())?;
                call.path = Some(key.path.clone());
                let taken = self.taken_in(key, &mut found).await?;
                if expected.is_some() && self.is_older_version(key, taken.hash()).await? {
                    // A file that is left as it is gets no entry.
                    call.recorded = true;
                    return Ok(left(
                        "it holds an older version, as a late publication leaves it: --repair publishes the \
                     newest; to go back to this one, write it with write_content",
                    ));
                }
                let content = self.stage_spooled(taken).await?;
                let change = Change::new(Operation::Write, key.path.clone(), content, expected);
                call.change_file(&access, change).await?;
                Ok(Remedy::Adopted)
            });
        match ended.await.result {
            Ok(remedy) => Ok(remedy),
            Err(Error::Refused(refusal)) => Ok(Remedy::Refused(refusal.to_string())),
            Err(Error::Broken(fault)) => Err(fault),
        }
    }

    /// Refuses a file that the book does not admit, by its path and its size.
    pub(super) async fn require_adoptable(&self, key: &FileKey, size: u64) -> Result<(), Error> {
        self.require_admitted(&key.book, &key.path).await?;
        let limit = self.inner.limits.asset_bytes;
        if size > limit {
            return Err(Refusal::TooLarge { what: "the file", actual: size, limit }.into());
        }
        match self.inner.journal.conflicting_path(key).await? {
            None => Ok(()),
            Some(other) => Err(Refusal::path_conflict(&key.path, &other).into()),
        }
    }

    /// Spools a file's bytes, with the checks of an upload.
    async fn taken_in(&self, key: &FileKey, found: &mut ByteStream) -> Result<Spooled, Error> {
        self.require_admitted(&key.book, &key.path).await?;
        let limit = self.inner.limits.asset_bytes;
        let _permit = self.inner.large.acquire().await;
        match self.spool_file(&key.path, found, limit).await? {
            taken if taken.size() > limit => {
                Err(Refusal::TooLarge { what: "the file", actual: taken.size(), limit }.into())
            }
            taken => Ok(taken),
        }
    }

    /// True if an earlier version of the file had these bytes. Adopting them would undo the later ones.
    async fn is_older_version(&self, key: &FileKey, hash: ContentHash) -> Result<bool, Fault> {
        let found = self.inner.journal.find_version(&key.book, &key.path, &key.layer.view(), hash).await?;
        Ok(found.is_some_and(|found| found.record.layer == key.layer))
    }
}
