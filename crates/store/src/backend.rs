//! Which storage the books are published in, as far as the journal must know it.

use panaversity_model::publication::FileKey;

use crate::keys;

/// A kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A folder.
    Fs,
    /// A bucket behind S3's protocol.
    S3,
    /// Supabase's storage, through its S3 protocol.
    Supabase,
}

impl Backend {
    /// `fs`, `s3` or `supabase`, as settings, rows and results name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fs => "fs",
            Self::S3 => "s3",
            Self::Supabase => "supabase",
        }
    }

    /// Where a file is published, below the bucket or the folder.
    pub fn published(self, key: &FileKey) -> String {
        keys::published_in(self, key)
    }

    /// How long a lease on a path holds. A publisher uses the first five seconds of it to begin
    /// its one request. A request to a bucket may take its time, and may arrive after the process
    /// that sent it is gone: the rest covers both.
    pub(crate) fn lease_seconds(self) -> u32 {
        match self {
            Self::Fs => 10,
            Self::S3 | Self::Supabase => 20,
        }
    }

    /// Whether what this server was doing in the storage ends with its process.
    pub(crate) fn ends_with_the_process(self) -> bool {
        self == Self::Fs
    }
}
