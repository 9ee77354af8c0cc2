//! Names the application makes for requests, changes and audit entries.

use std::fmt;

use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps an id drawn by the [`IdGenerator`](crate::ports::IdGenerator).
            pub fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// Reads the stored form.
            pub fn from_stored(text: &str) -> Option<Self> {
                Uuid::parse_str(text).ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

id! {
    /// One call through a door; log lines and audit entries carry it.
    RequestId
}
id! {
    /// One change set, committed or refused as a whole.
    ChangeId
}
id! {
    /// One audit entry (`UUIDv7`: ids of one server ascend).
    EntryId
}
id! {
    /// One attempt to publish a path; a lease belongs to exactly one attempt.
    LeaseId
}
id! {
    /// One coming to life of a blob's row; see [`gc`](crate::gc).
    StagingId
}
id! {
    /// One upload of a large asset, from the permit to its completion.
    UploadId
}
