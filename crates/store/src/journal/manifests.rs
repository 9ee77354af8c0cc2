//! Manifests: current files of a layer of a book, and kept manifests of bases.

use async_trait::async_trait;
use panaversity_model::blob::BlobMetadata;
use panaversity_model::manifest::{Item, ManifestRow, Stamp};
use panaversity_model::ports::Manifests;
use panaversity_model::{BookId, ContentHash, Fault, Layer};

use super::lists::{LISTED, list, listed_versions};
use super::{SqlJournal, rows};
use crate::database::{Row, Sql, SqlError, Value, fault};

// Answered from the index on versions alone, which requires that condition on them.
const STAMP: &str = "SELECT count(*) AS count, CAST(coalesce(sum(version), 0) AS BIGINT) AS sum, \
                     coalesce(max(version), 0) AS highest FROM file_journal \
                     WHERE book_id = $1 AND user_id = $2 AND version > 0";

/// Rows that are read at a time: as rows they need several times as much memory as in a manifest.
const PAGE: usize = 1024;

#[async_trait]
impl Manifests for SqlJournal {
    async fn stamp(&self, book: &BookId, layer: &Layer) -> Result<Stamp, Fault> {
        let values = vec![book.as_str().into(), layer.as_str().into()];
        let found = self.read("read a stamp", STAMP, values).await?;
        found.first().map_or(Ok(Stamp::default()), stamp).map_err(|error| fault("read a stamp", &error))
    }

    async fn rows(
        &self,
        book: &BookId,
        layer: &Layer,
        above: i64,
    ) -> Result<(Stamp, Vec<ManifestRow>), Fault> {
        let newer = format!(
            "SELECT path, sha256, size, version FROM file_journal \
             WHERE book_id = $1 AND user_id = $2 AND version > 0 AND version > $3 ORDER BY version LIMIT {PAGE}"
        );
        let run = async {
            let mut session = self.db.snapshot().await?;
            let first = vec![book.as_str().into(), layer.as_str().into()];
            let stamps = session.queue(STAMP, first.clone());
            let (mut found, mut above) = (Vec::new(), above);
            loop {
                let page = session.queue(newer.as_str(), [first.clone(), vec![Value::Int(above)]].concat());
                session.send().await?;
                let page = session.take(page);
                found.extend(page.iter().map(manifest_row));
                let Some(last) = page.last().filter(|_| page.len() == PAGE) else { break };
                above = last.int("version")?;
            }
            let stamp = session.take(stamps).first().map_or(Ok(Stamp::default()), stamp)?;
            session.finish().await?;
            Ok::<_, SqlError>((stamp, found))
        };
        let (stamp, found) = run.await.map_err(|error| fault("read a manifest", &error))?;
        Ok((stamp, found.into_iter().collect::<Result<_, _>>()?))
    }

    async fn keep(&self, book: &BookId, hash: ContentHash, encoded: &[u8]) -> Result<(), Fault> {
        let sql = format!(
            "INSERT INTO manifests (book_id, hash, body, named_at) VALUES ($1, $2, $3, {}) \
             ON CONFLICT (book_id, hash) DO UPDATE SET named_at = excluded.named_at",
            self.db.now_sql()
        );
        let body = Value::Bytes(Some(encoded.to_vec()));
        let values = vec![book.as_str().into(), hash.to_string().into(), body];
        self.write_durably("keep a manifest", &sql, values).await.map(|_| ())
    }

    async fn kept(&self, book: &BookId, hash: ContentHash) -> Result<Option<Vec<u8>>, Fault> {
        let sql = "SELECT body FROM manifests WHERE book_id = $1 AND hash = $2";
        let values = vec![book.as_str().into(), hash.to_string().into()];
        let found = self.read("read a kept manifest", sql, values).await?;
        found
            .first()
            .map(|row| row.bytes("body"))
            .transpose()
            .map_err(|error| fault("read a kept manifest", &error))
    }

    async fn blob_metadata(
        &self,
        book: &BookId,
        versions: &[(&str, ContentHash)],
    ) -> Result<Vec<Option<BlobMetadata>>, Fault> {
        // Row by row by an index, and without reading the bytes whose length is queried.
        let sql = format!(
            "{} SELECT CAST(w.n AS BIGINT) AS n, coalesce(b.size, v.size) AS size, \
             coalesce(b.crc32, 0) AS crc32, coalesce(b.state, 'missing') AS state, \
             CAST(length(b.deflated) AS BIGINT) AS deflated_size, v.kept_until \
             FROM w CROSS JOIN versions v LEFT JOIN blobs b ON b.hash = v.sha256 \
             WHERE v.book_id = w.book_id AND v.path = w.path AND v.user_id = w.user_id AND v.sha256 = w.hash",
            listed_versions(self.db.dialect(), 1, 2)
        );
        let mut found: Vec<Option<BlobMetadata>> = vec![None; versions.len()];
        for (some, found) in versions.chunks(LISTED).zip(found.chunks_mut(LISTED)) {
            let named = list(some.iter().map(|(path, hash)| [(*path).to_owned(), hash.to_string()]));
            for row in &self.read("look at versions", &sql, vec![book.as_str().into(), named]).await? {
                let (n, metadata) = metadata(row)?;
                // A version may have several rows, if a file returned to an earlier content.
                let kept_until = found[n].and_then(|other| other.kept_until).max(metadata.kept_until);
                found[n] = Some(BlobMetadata { kept_until, ..metadata });
            }
        }
        Ok(found)
    }
}

fn stamp(row: &Row) -> Sql<Stamp> {
    Ok(Stamp { count: row.int("count")?, sum: row.int("sum")?, highest: row.int("highest")? })
}

/// Position in a list, and the metadata of the version there.
fn metadata(row: &Row) -> Result<(usize, BlobMetadata), Fault> {
    rows::read("look at a version", || {
        let (n, state) = (row.int("n")?, row.text("state")?);
        let (size, deflated) = (row.int("size")?, row.optional_int("deflated_size")?);
        let (crc32, kept_until) = (row.int("crc32")?, row.optional_time("kept_until")?);
        Ok(rows::blob_state(&state).map(|state| {
            let metadata = BlobMetadata {
                size: rows::unsigned(size),
                crc32: u32::try_from(crc32).unwrap_or(0),
                deflated: deflated.map(rows::unsigned),
                state,
                kept_until,
            };
            (usize::try_from(n).unwrap_or(usize::MAX), metadata)
        }))
    })
}

fn manifest_row(row: &Row) -> Result<ManifestRow, Fault> {
    rows::read("read a manifest row", || {
        let (path, raw_hash) = (row.text("path")?, row.text("sha256")?);
        let (size, version) = (rows::unsigned(row.int("size")?), row.int("version")?);
        Ok(rows::hash(&raw_hash).map(|hash| ManifestRow { path, item: Item { hash, size, version } }))
    })
}
