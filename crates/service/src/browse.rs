//! What people look at in a browser: folders with their children, recent change sets, one change set, and the
//! changes of books by day. Keeps R5; each call reads a bounded number of rows, whatever the size of the
//! book.
//!
//! # Change sets
//! A change set is read from its audit entries, which never go away. They lie close together in time, so a
//! set is looked for around the moment that a link gives, or that its id tells: ids are `UUIDv7`.

use std::time::Duration;

use panaversity_model::audit::AuditEntry;
use panaversity_model::browsing::{ChangeFilter, ChildPosition, DayCount, FolderChild};
use panaversity_model::ids::ChangeId;
use panaversity_model::path::Folder;
use panaversity_model::{Book, BookId, BookPath, ContentHash, Error, Fault, Refusal, Timestamp};

use crate::authorize::{ReadAccess, SearchAccess};
use crate::call::Call;

/// Most files that are counted below one folder.
pub const MOST_COUNTED: usize = 1_000;
/// Entries of the log that are read for a page of change sets.
const ENTRIES_READ: usize = 1_000;
/// Entries of the log that are looked through for one change set.
const LOOKED_THROUGH: usize = 50_000;
/// Most files of a change set that are shown.
pub const MOST_FILES: usize = 1_000;
/// Time around a known moment in which the entries of a change set lie: that of the longest commit.
const AROUND: Duration = Duration::from_mins(1);
/// The same around the time of its id, which the clock of a server gave and not the database's.
const AROUND_ID: Duration = Duration::from_mins(10);
/// Most changes of a book that are counted by day.
const MOST_CHANGES: usize = 2_000;

/// A child of a folder with the number of files below it.
#[derive(Debug, Clone)]
pub struct CountedChild {
    /// The child.
    pub child: FolderChild,
    /// Files of the base below it; [`MOST_COUNTED`] stands for that many or more. 1 for a file.
    pub files: usize,
}

/// A page of a folder.
#[derive(Debug, Clone)]
pub struct FolderPage {
    /// The folder.
    pub folder: Folder,
    /// Its children, in order.
    pub children: Vec<CountedChild>,
    /// Position of the next page.
    pub next: Option<ChildPosition>,
}

/// A file that a change set changed.
#[derive(Debug, Clone)]
pub struct FileChange {
    /// The path.
    pub path: BookPath,
    /// Operation as recorded.
    pub operation: String,
    /// Hash before; `None`: there was no file.
    pub old: Option<ContentHash>,
    /// Hash after; `None`: it was deleted.
    pub new: Option<ContentHash>,
}

/// A change set as recorded in the audit log.
#[derive(Debug, Clone)]
pub struct RecordedSet {
    /// Its id.
    pub id: ChangeId,
    /// When it was committed: the time of its newest entry.
    pub at: Timestamp,
    /// The agent, as stored.
    pub agent: String,
    /// Its reason, or that of a merge.
    pub message: Option<String>,
    /// The files, by path.
    pub files: Vec<FileChange>,
    /// True if it has more files than are listed.
    pub is_cut: bool,
}

/// A page of change sets, newest first.
#[derive(Debug, Clone)]
pub struct RecordedSetPage {
    /// The sets.
    pub sets: Vec<RecordedSet>,
    /// Moment at which the next page starts.
    pub next: Option<Timestamp>,
}

impl Call {
    /// A page of the children of a folder.
    pub async fn list_folder(
        &self,
        access: &ReadAccess,
        folder: &Folder,
        after: Option<&ChildPosition>,
        limit: usize,
    ) -> Result<FolderPage, Error> {
        let (journal, book, view) = (&self.service.inner.journal, access.book(), access.view());
        let mut children = journal.children(book, folder, &view, after, limit + 1).await?;
        let is_last = children.len() <= limit;
        children.truncate(limit);
        let next = children.last().filter(|_| !is_last).map(FolderChild::position);
        let folders: Vec<Folder> = children
            .iter()
            .filter_map(|child| match child {
                FolderChild::Folder(folder) => Some(folder.clone()),
                FolderChild::File(_) => None,
            })
            .collect();
        let base = panaversity_model::Layer::Base;
        let mut counts = if folders.is_empty() {
            Vec::new().into_iter()
        } else {
            journal.file_counts(book, &base, &folders, MOST_COUNTED).await?.into_iter()
        };
        let counted = |child: FolderChild| {
            let files = if matches!(child, FolderChild::File(_)) { 1 } else { counts.next().unwrap_or(0) };
            CountedChild { child, files }
        };
        let children = children.into_iter().map(counted).collect();
        Ok(FolderPage { folder: folder.clone(), children, next })
    }

    /// A book by its id.
    pub async fn read_book(&self, access: &ReadAccess) -> Result<Book, Error> {
        let book = self.service.inner.journal.book(access.book()).await?;
        Ok(book.ok_or_else(|| Refusal::BookNotFound(access.book().clone()))?)
    }

    /// A page of the change sets of a layer, from `until` backwards.
    pub async fn recent_changes(
        &self,
        access: &ReadAccess,
        until: Option<Timestamp>,
        limit: usize,
    ) -> Result<RecordedSetPage, Error> {
        let filter = ChangeFilter {
            book: access.book().clone(),
            layer: access.layer().clone(),
            from: Timestamp::from_micros(0),
            to: until.unwrap_or(Timestamp::from_micros(i64::MAX)),
            change: None,
        };
        let entries = self.service.inner.journal.change_entries(&filter, ENTRIES_READ, ENTRIES_READ).await?;
        Ok(page_of_sets(entries, limit, ENTRIES_READ)?)
    }

    /// A change set of a layer, by its id; `at` is about when it was committed, if that is known.
    pub async fn read_change_set(
        &self,
        access: &ReadAccess,
        id: ChangeId,
        at: Option<Timestamp>,
    ) -> Result<RecordedSet, Error> {
        let unknown = || Refusal::not_found("The book has no such change set");
        let (at, around) = match (at, id.made_at()) {
            (Some(at), _) => (at, AROUND),
            (None, Some(at)) => (at, AROUND_ID),
            (None, None) => return Err(unknown().into()),
        };
        let filter = ChangeFilter {
            book: access.book().clone(),
            layer: access.layer().clone(),
            from: at.before(around),
            to: at.after(around),
            change: Some(id),
        };
        let entries =
            self.service.inner.journal.change_entries(&filter, LOOKED_THROUGH, MOST_FILES + 1).await?;
        let is_cut = entries.len() > MOST_FILES;
        let mut sets = sets_of(entries)?;
        let mut set = sets.pop().ok_or_else(unknown)?;
        set.files.truncate(MOST_FILES);
        set.is_cut = is_cut;
        Ok(set)
    }

    /// Changes by day, since a moment, of these books that the caller may search.
    pub async fn activity(
        &self,
        access: &SearchAccess,
        books: &[BookId],
        since: Timestamp,
    ) -> Result<Vec<Vec<DayCount>>, Error> {
        let permitted = access.books();
        let is_open = |book: &BookId| permitted.as_ref().is_none_or(|books| books.contains(book));
        if let Some(closed) = books.iter().find(|book| !is_open(book)) {
            return Err(Refusal::BookNotFound(closed.clone()).into());
        }
        Ok(self.service.inner.journal.changes_per_day(books, since, MOST_CHANGES).await?)
    }

    /// The database's time.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        Ok(self.service.inner.journal.now().await?)
    }
}

/// The sets of entries, newest first. A set whose entries may go on behind the last one read is on the next
/// page, unless it fills this one.
fn page_of_sets(entries: Vec<AuditEntry>, limit: usize, read: usize) -> Result<RecordedSetPage, Fault> {
    let is_last = entries.len() < read;
    let oldest = entries.last().map(|entry| entry.timestamp);
    let mut sets = sets_of(entries)?;
    if !is_last && sets.len() > 1 {
        let cut = sets.pop();
        let next = cut.map(|cut| cut.at);
        if sets.len() <= limit {
            return Ok(RecordedSetPage { sets, next });
        }
    } else if !is_last && sets.len() == 1 {
        sets[0].is_cut = true;
        // Its other entries are passed over: the page of the set itself has them.
        let next = oldest.map(|oldest| oldest.before(Duration::from_micros(1)));
        return Ok(RecordedSetPage { sets, next });
    }
    let next = sets.get(limit).map(|set| set.at);
    sets.truncate(limit);
    Ok(RecordedSetPage { sets, next })
}

/// Groups entries by their sets, in the order of the newest entry of each.
fn sets_of(entries: Vec<AuditEntry>) -> Result<Vec<RecordedSet>, Fault> {
    let mut sets: Vec<RecordedSet> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for entry in entries {
        let change = entry.change_id.as_deref().and_then(ChangeId::from_stored);
        let Some(id) = change else { continue };
        let file = file_change(&entry)?;
        let place = *places.entry(id).or_insert_with(|| {
            sets.push(RecordedSet {
                id,
                at: entry.timestamp,
                agent: entry.agent_id.clone(),
                message: entry.error_message.clone(),
                files: Vec::new(),
                is_cut: false,
            });
            sets.len() - 1
        });
        sets[place].files.push(file);
    }
    for set in &mut sets {
        set.files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(sets)
}

fn file_change(entry: &AuditEntry) -> Result<FileChange, Fault> {
    let path = BookPath::parse(&entry.path)
        .map_err(|refusal| Fault::corrupt(format!("a stored path does not parse: {refusal}")))?;
    let hash = |raw: &Option<String>| raw.as_deref().and_then(ContentHash::from_hex);
    Ok(FileChange {
        path,
        operation: entry.operation.clone(),
        old: hash(&entry.old_content_hash),
        new: hash(&entry.new_content_hash),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use panaversity_model::audit::{AuditDraft, Operation, Outcome};
    use panaversity_model::ids::{EntryId, RequestId};
    use panaversity_model::{AgentId, Layer};

    fn entry(set: u8, n: u8, at: i64) -> AuditEntry {
        let id = [set; 16];
        let draft = AuditDraft {
            id: EntryId::from_stored(&hex(&[n; 16])).unwrap(),
            request: RequestId::from_stored(&hex(&id)).unwrap(),
            agent: AgentId::unnamed(),
            operation: Operation::Write,
            book: Some(BookId::parse("ai-python").unwrap()),
            path: Some(BookPath::parse(&format!("content/{n}.md")).unwrap()),
            layer: Layer::Base,
            outcome: Outcome::Success,
            note: Some(format!("set {set}")),
            elapsed_ms: 0,
            change: ChangeId::from_stored(&hex(&id)),
            old: None,
            new: Some(ContentHash::of(b"x")),
        };
        draft.seal(Timestamp::from_micros(at), None)
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn entries_of_a_set_are_one_change_even_if_others_lie_between_them() {
        let entries = vec![entry(1, 1, 9), entry(2, 2, 9), entry(1, 3, 8), entry(3, 4, 7)];
        let page = page_of_sets(entries, 10, 100).unwrap();
        let shown: Vec<_> =
            page.sets.iter().map(|set| (set.message.as_deref().unwrap(), set.files.len())).collect();
        assert_eq!(shown, [("set 1", 2), ("set 2", 1), ("set 3", 1)]);
        assert_eq!(page.next, None);
    }

    #[test]
    fn a_page_goes_on_at_the_first_set_that_is_not_on_it() {
        let entries = || vec![entry(1, 1, 9), entry(2, 2, 8), entry(3, 3, 7), entry(3, 4, 6)];
        let page = page_of_sets(entries(), 2, 100).unwrap();
        assert_eq!((page.sets.len(), page.next), (2, Some(Timestamp::from_micros(7))));
        let cut = page_of_sets(entries(), 10, 4).unwrap();
        assert_eq!((cut.sets.len(), cut.next), (2, Some(Timestamp::from_micros(7))), "the last may go on");
        let large = page_of_sets(vec![entry(1, 1, 9), entry(1, 2, 8)], 10, 2).unwrap();
        assert_eq!((large.sets[0].is_cut, large.next), (true, Some(Timestamp::from_micros(7))));
    }
}
