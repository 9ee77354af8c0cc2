//! Database and storage carry the same id, so that a server never serves a mismatched pair.

use panaversity_model::Fault;

/// What a storage's id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreIdentity {
    /// It is this database's.
    Matching,
    /// It is nobody's, and may be taken by writing the id into it.
    Unclaimed,
}

/// The id that a storage's file holds.
pub(crate) fn id_in(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Compares the id found in a storage, named `shown`, with the database's. `fresh`: no storage
/// carries it yet.
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
