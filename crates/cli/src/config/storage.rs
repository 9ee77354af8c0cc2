//! Settings of the file storage as types: a folder or a bucket, with everything needed to access
//! it.

use std::path::PathBuf;

use panaversity_store::limits::BucketLimits;
use panaversity_store::{Backend, Bucket};

use super::values::{bad, optional, required, unset};
use super::{ConfigError, Key, Setting, Sources};
use panaversity_server::PublicUrl;

/// Path of the S3 endpoint below a Supabase project's URL.
const SUPABASE_S3: &str = "/storage/v1/s3";

/// The configured storage.
#[derive(Clone)]
pub(crate) enum StorageSettings {
    /// A folder, by its path.
    Folder(PathBuf),
    /// A bucket, with its endpoint and credentials.
    Bucket(Box<Bucket>),
}

impl StorageSettings {
    /// Parses the settings of the selected backend.
    pub(crate) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let given = sources.text(Key::StorageBackend)?.ok_or_else(|| unset(Key::StorageBackend))?;
        match given.text.as_str() {
            "fs" => {
                let root = required(sources, Key::StorageRoot, "a folder", |text| Some(PathBuf::from(text)))?;
                Ok(Self::Folder(root))
            }
            "s3" => Ok(Self::Bucket(Box::new(s3(sources)?))),
            "supabase" => Ok(Self::Bucket(Box::new(supabase(sources)?))),
            _ => Err(bad(&given, "fs, s3 or supabase")),
        }
    }

    /// The kind of the storage.
    pub(crate) fn backend(&self) -> Backend {
        match self {
            Self::Folder(_) => Backend::Fs,
            Self::Bucket(bucket) => bucket.backend,
        }
    }

    /// Description for operators, without secrets.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Folder(root) => format!("the storage folder {}", root.display()),
            Self::Bucket(bucket) => bucket.shown(),
        }
    }

    /// Names of the settings that describe it, for error messages.
    pub(crate) fn names(&self) -> &'static str {
        match self.backend() {
            Backend::Fs => "PANAVERSITY_STORAGE_ROOT",
            Backend::S3 => "PANAVERSITY_S3_*",
            Backend::Supabase => "PANAVERSITY_SUPABASE_* and PANAVERSITY_S3_REGION",
        }
    }
}

fn s3(sources: &Sources) -> Result<Bucket, ConfigError> {
    let name = needed(sources, Key::S3Bucket)?;
    let endpoint = url(sources, Key::S3Endpoint)?;
    let region = needed(sources, Key::S3Region)?;
    if endpoint.is_none() && region == "auto" {
        return Err(ConfigError(
            "PANAVERSITY_S3_REGION is \"auto\" and PANAVERSITY_S3_ENDPOINT is not set: \
             set the bucket's AWS region, or the endpoint of another provider"
                .to_owned(),
        ));
    }
    Ok(Bucket {
        backend: Backend::S3,
        name,
        region,
        endpoint,
        access_key_id: needed(sources, Key::S3AccessKeyId)?,
        secret_access_key: needed(sources, Key::S3Secret)?.into(),
        limits: BucketLimits::default(),
    })
}

fn supabase(sources: &Sources) -> Result<Bucket, ConfigError> {
    let project = url(sources, Key::SupabaseUrl)?.ok_or_else(|| unset(Key::SupabaseUrl))?;
    let endpoint = if project.ends_with(SUPABASE_S3) { project } else { format!("{project}{SUPABASE_S3}") };
    Ok(Bucket {
        backend: Backend::Supabase,
        name: needed(sources, Key::SupabaseBucket)?,
        region: needed(sources, Key::S3Region)?,
        endpoint: Some(endpoint),
        access_key_id: needed(sources, Key::SupabaseAccessKeyId)?,
        secret_access_key: needed(sources, Key::SupabaseSecret)?.into(),
        limits: BucketLimits::default(),
    })
}

/// A text setting that must be set. It may be a secret, so error messages never show it.
fn needed(sources: &Sources, key: Key) -> Result<String, ConfigError> {
    let given = sources.text(key)?.ok_or_else(|| unset(key))?;
    let text = given.text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(ConfigError(format!(
            "{} is empty or holds control characters",
            Setting::of(key).names[0]
        )));
    }
    Ok(text.to_owned())
}

fn url(sources: &Sources, key: Key) -> Result<Option<String>, ConfigError> {
    let allowed = "a URL like https://s3.example.com, without user, query or fragment";
    Ok(optional(sources, key, allowed, PublicUrl::parse)?.map(|url| url.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S3: [(&str, &str); 5] = [
        ("PANAVERSITY_STORAGE_BACKEND", "s3"),
        ("PANAVERSITY_S3_BUCKET", "books"),
        ("PANAVERSITY_S3_ENDPOINT", "https://s3.example.com/"),
        ("PANAVERSITY_S3_ACCESS_KEY_ID", "id"),
        ("PANAVERSITY_S3_SECRET_ACCESS_KEY", "hunter2"),
    ];

    fn read(given: &[(&str, &str)]) -> Result<StorageSettings, String> {
        StorageSettings::read(&Sources::of(&[], given, &[])).map_err(|ConfigError(why)| why)
    }

    fn bucket(given: &[(&str, &str)]) -> Bucket {
        match read(given) {
            Ok(StorageSettings::Bucket(bucket)) => *bucket,
            Ok(StorageSettings::Folder(_)) => panic!("a folder"),
            Err(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_bucket_is_read_and_shown_without_its_secret() {
        let found = bucket(&S3);
        assert_eq!((found.name.as_str(), found.region.as_str()), ("books", "auto"));
        assert_eq!(found.endpoint.as_deref(), Some("https://s3.example.com"));
        assert!(!StorageSettings::Bucket(Box::new(found)).shown().contains("hunter2"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for n in [1, 3, 4] {
            let mut given = S3.to_vec();
            let (name, _) = given.remove(n);
            assert_eq!(read(&given).err().unwrap(), format!("{name} is not set"));
        }
        let aws = read(&[&S3[..2], &S3[3..]].concat()).err().unwrap();
        assert!(aws.starts_with("PANAVERSITY_S3_REGION is \"auto\""), "{aws}");
        let odd = read(&[("PANAVERSITY_STORAGE_BACKEND", "gcs")]).err().unwrap();
        assert_eq!(odd, "PANAVERSITY_STORAGE_BACKEND is \"gcs\"; allowed is fs, s3 or supabase");
    }

    #[test]
    fn supabase_is_reached_through_its_s3_protocol() {
        for url in ["https://x.supabase.co", "https://x.supabase.co/", "https://x.supabase.co/storage/v1/s3"]
        {
            let found = bucket(&[
                ("PANAVERSITY_STORAGE_BACKEND", "supabase"),
                ("PANAVERSITY_SUPABASE_URL", url),
                ("PANAVERSITY_SUPABASE_BUCKET", "books"),
                ("PANAVERSITY_SUPABASE_ACCESS_KEY_ID", "id"),
                ("PANAVERSITY_SUPABASE_SECRET_ACCESS_KEY", "secret"),
            ]);
            assert_eq!(found.endpoint.as_deref(), Some("https://x.supabase.co/storage/v1/s3"));
            assert_eq!(found.backend, Backend::Supabase);
        }
    }
}
