//! The feed of changes, read from the audit log. Keeps R5, and the guarantees of
//! [`feed`](panaversity_model::feed).
//!
//! # Protocol
//! 1. Determine a moment that no unseen change precedes (see `changes`), *before* the rows are read. Readers
//!    that ask at the same time share the answer: one that was determined since a reader asked will do for
//!    it.
//! 2. Only then read the rows after the position, of each layer of the view, in the order of time and id of
//!    their sets. All rows of a set have the same time, so they follow each other.
//! 3. Leave out sets at or after the moment: one that is not visible yet may come before them.
//! 4. Leave out a set whose rows may be cut off: the last one of a layer of which as many rows were read as
//!    were asked for, and all after it. If no set is left, read again with more rows.

use std::collections::BTreeMap;
use std::time::Instant;

use async_trait::async_trait;
use futures::stream::BoxStream;
use panaversity_model::audit::AuditEntry;
use panaversity_model::feed::{FeedItem, FeedPage, FeedPosition};
use panaversity_model::ids::ChangeId;
use panaversity_model::ports::ChangeFeed;
use panaversity_model::{BookId, Fault, Layer, Timestamp, View};
use tokio::sync::Mutex;

use super::SqlJournal;
use super::rows::{self, ENTRY};
use crate::database::Value;

/// Most rows that are read first; sets of more files are read with more.
const FIRST_ROWS: usize = 2_000;

/// The moment of step 1, with the time at which its determination began.
#[derive(Default)]
pub(super) struct SharedMoment(Mutex<Option<(Instant, Timestamp)>>);

/// Rows of one set, by its position and layer.
type Sets = BTreeMap<(FeedPosition, Layer), Vec<AuditEntry>>;

#[async_trait]
impl ChangeFeed for SqlJournal {
    async fn feed(
        &self,
        book: &BookId,
        view: &View,
        after: FeedPosition,
        limit: usize,
    ) -> Result<FeedPage, Fault> {
        let until = self.shared_moment().await?;
        let mut wanted = limit.saturating_mul(2).clamp(2, FIRST_ROWS);
        loop {
            let (sets, is_cut) = self.sets_after(book, view, after, wanted).await?;
            let is_empty = sets.is_empty();
            let page = page(sets, is_cut, after, until, limit)?;
            if !(is_empty && is_cut) {
                return Ok(page);
            }
            wanted = wanted.saturating_mul(8);
        }
    }

    async fn feed_end(&self) -> Result<FeedPosition, Fault> {
        Ok(FeedPosition::before(self.shared_moment().await?))
    }

    fn wakes(&self, book: &BookId) -> BoxStream<'static, ()> {
        self.signals.listen(&self.db);
        self.signals.subscribe(book)
    }
}

impl SqlJournal {
    /// Step 1.
    async fn shared_moment(&self) -> Result<Timestamp, Fault> {
        let asked = Instant::now();
        let mut shared = self.moment.0.lock().await;
        if let Some((began, moment)) = *shared
            && began >= asked
        {
            return Ok(moment);
        }
        let began = Instant::now();
        let moment = self.complete_until().await?;
        *shared = Some((began, moment));
        Ok(moment)
    }

    /// Steps 2 and 4: the whole sets after a position, and whether there may be more.
    async fn sets_after(
        &self,
        book: &BookId,
        view: &View,
        after: FeedPosition,
        wanted: usize,
    ) -> Result<(Sets, bool), Fault> {
        let mut values = vec![
            book.as_str().into(),
            after.at.into(),
            after.change.to_string().into(),
            Value::Int(i64::try_from(wanted).unwrap_or(i64::MAX)),
            Layer::Base.as_str().into(),
        ];
        let mut sql = layer_sql(5);
        if *view.top() != Layer::Base {
            values.push(view.top().as_str().into());
            sql = format!("SELECT * FROM ({sql}) AS base UNION ALL SELECT * FROM ({}) AS own", layer_sql(6));
        }
        let found = self.read("read the feed of changes", &sql, values).await?;
        let mut sets = Sets::new();
        // Of each layer: the number of its rows, and the position of the last.
        let mut layers: BTreeMap<Layer, (usize, FeedPosition)> = BTreeMap::new();
        for row in &found {
            let entry = rows::entry(row)?;
            let (layer, position) = (rows::layer(&entry.user_id)?, position_of(&entry)?);
            let (count, last) = layers.entry(layer.clone()).or_insert((0, position));
            *count += 1;
            *last = (*last).max(position);
            sets.entry((position, layer)).or_default().push(entry);
        }
        let cut = layers.values().filter(|(count, _)| *count >= wanted).map(|(_, last)| *last).min();
        if let Some(cut) = cut {
            sets.retain(|(position, _), _| *position < cut);
        }
        Ok((sets, cut.is_some()))
    }
}

/// Rows of the layer bound to a parameter after the position of the parameters 2 and 3, as many as parameter
/// 4 says. An entry without hashes changed nothing.
fn layer_sql(layer: usize) -> String {
    format!(
        "SELECT {ENTRY} FROM audit_log WHERE book_id = $1 AND user_id = ${layer} AND timestamp >= $2 \
         AND (timestamp, change_id) > ($2, $3) AND change_id IS NOT NULL \
         AND coalesce(new_content_hash, old_content_hash) IS NOT NULL ORDER BY timestamp, change_id LIMIT $4"
    )
}

fn position_of(entry: &AuditEntry) -> Result<FeedPosition, Fault> {
    let change = entry.change_id.as_deref().and_then(ChangeId::from_stored);
    let change = change.ok_or_else(|| Fault::corrupt("an audit entry names no change set"))?;
    Ok(FeedPosition { at: entry.timestamp, change })
}

/// Step 3, and the first sets of what is left.
fn page(
    sets: Sets,
    is_cut: bool,
    after: FeedPosition,
    until: Timestamp,
    limit: usize,
) -> Result<FeedPage, Fault> {
    let is_held_back = sets.keys().any(|(position, _)| position.at >= until);
    let (mut items, mut has_more) = (Vec::new(), is_cut && !is_held_back);
    for ((position, layer), entries) in sets {
        if position.at >= until {
            break;
        }
        if items.len() == limit {
            has_more = true;
            break;
        }
        let item = FeedItem::of(position, layer, &entries.iter().collect::<Vec<_>>());
        items.push(item.ok_or_else(|| Fault::corrupt("an audit entry of a change names no path"))?);
    }
    let next = items.last().map_or(after, |item| item.position);
    Ok(FeedPage { items, next, has_more, is_held_back })
}
