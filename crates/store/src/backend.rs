//! Kind of storage that the books are published in, as far as the journal depends on it.

/// Kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A folder.
    Fs,
    /// A bucket accessed through the S3 protocol.
    S3,
    /// Supabase Storage, through its S3 protocol.
    Supabase,
}

impl Backend {
    /// `fs`, `s3` or `supabase`, as named in settings, rows and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fs => "fs",
            Self::S3 => "s3",
            Self::Supabase => "supabase",
        }
    }

    /// Duration of a lease on a path in seconds. A publisher uses the first five seconds of it to begin
    /// its one request. A request to a bucket may be slow, and may arrive after the process that sent it
    /// has ended: the rest covers both.
    pub(crate) fn lease_seconds(self) -> u32 {
        match self {
            Self::Fs => 10,
            Self::S3 | Self::Supabase => 20,
        }
    }

    /// True if every storage operation of this server ends with its process.
    pub(crate) fn ends_with_the_process(self) -> bool {
        self == Self::Fs
    }
}
