//! Metrics of writes: the labels under which a write is counted.

use panaversity_model::change::Applied;
use panaversity_model::permission::Permission;
use panaversity_model::precondition::Effect;
use panaversity_model::{Error, ErrorCode, Refusal};
use panaversity_service::Call;

use crate::AppState;
use crate::metrics::UNKNOWN;

/// Counts a write of a page or an asset.
pub(super) async fn count_write(app: &AppState, call: &Call, written: Result<&Applied, &Error>) {
    let mode = written.map_or("none", Applied::mode);
    let book = count_under(app, call, written.err()).await;
    app.metrics.written(book, written.err().map_or("success", status_of), mode, call.elapsed());
}

/// Counts the files that a change set has written.
pub(super) async fn count_set(app: &AppState, call: &Call, effects: impl Iterator<Item = Effect>) {
    let book = count_under(app, call, None).await;
    let written = effects.filter(|effect| *effect != Effect::Deleted);
    app.metrics.set_written(book, written.map(Effect::as_str), call.elapsed());
}

/// The `status` label of a write that was refused or failed.
fn status_of(error: &Error) -> &'static str {
    let Error::Refused(refusal) = error else { return "error" };
    match refusal.code() {
        ErrorCode::Conflict => "conflict",
        ErrorCode::HashRequired => "hash_required",
        ErrorCode::SchemaViolation | ErrorCode::InvalidPath => "schema_violation",
        ErrorCode::NotFound | ErrorCode::BookNotFound => "not_found",
        _ => "error",
    }
}

/// The `book_id` label of a write: names of books that do not exist would let callers create unlimited
/// metrics.
async fn count_under<'a>(app: &AppState, call: &'a Call, error: Option<&Error>) -> &'a str {
    let Some(book) = &call.book else { return UNKNOWN };
    let exists = match error {
        None | Some(Error::Refused(Refusal::Conflict { .. } | Refusal::HashRequired { .. })) => true,
        // An engine that just failed is not queried again, nor for a caller who may not know the book.
        Some(Error::Broken(_) | Error::Refused(Refusal::Forbidden { .. })) => false,
        Some(Error::Refused(_)) if !call.caller.principal.may(Permission::Write, Some(book)) => false,
        Some(Error::Refused(_)) => app.service.require_book(book).await.is_ok(),
    };
    if exists { book.as_str() } else { UNKNOWN }
}
