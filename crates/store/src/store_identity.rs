//! Pairing of database and storage by a common id, so that a server never serves a mismatched pair.

use panaversity_model::Fault;

/// Result of comparing a storage's id with the database's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreIdentity {
    /// It is this database's.
    Matching,
    /// The storage has no id, and may be claimed by writing one into it.
    Unclaimed,
}

/// Id contained in a storage's id file.
pub(crate) fn id_in(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Compares the id found in a storage, named `shown`, with the database's. `fresh`: no storage has it
/// yet.
///
/// # Errors
/// `STORAGE_UNAVAILABLE` if the two do not belong together; the detail is meant for the operator.
pub(crate) fn decide(
    found: Option<&str>,
    store_id: &str,
    fresh: bool,
    shown: &str,
) -> Result<StoreIdentity, Fault> {
    match found {
        Some(id) if id == store_id => Ok(StoreIdentity::Matching),
        Some(_) => Err(Fault::storage(format!(
            "{shown} belongs to another database: check DATABASE_URL and where PANAVERSITY_STORAGE_BACKEND stores"
        ))),
        None if fresh => Ok(StoreIdentity::Unclaimed),
        None => Err(Fault::storage(format!(
            "{shown} is not the storage that this database is kept with: \
             check DATABASE_URL and where PANAVERSITY_STORAGE_BACKEND stores"
        ))),
    }
}
