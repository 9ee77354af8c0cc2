//! Assets: files below `static/`, as callers name them: a type and a file name. One path, one pair;
//! the name given is the name kept.
//!
//! # Names
//! `img`, `images`, `slides`, `videos` and `audio` are the folders `static/{type}/`, and the file
//! name, which may contain `/`, is the rest of the path. The type `static` is everything else: the
//! file name is the path below `static/`. Which of these a book admits is its
//! [`grammar`](crate::grammar).

use crate::agent::AgentId;
use crate::file::FileRecord;
use crate::path::{BookPath, Folder};
use crate::refusal::Refusal;

/// What kind of asset: which folder below `static/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetType {
    /// `static/img/`.
    Img,
    /// `static/images/`, which is another folder.
    Images,
    /// `static/slides/`.
    Slides,
    /// `static/videos/`.
    Videos,
    /// `static/audio/`.
    Audio,
    /// Below `static/`, in none of the others.
    Static,
}

impl AssetType {
    /// Every type, for schemas.
    pub const ALL: [Self; 6] =
        [Self::Img, Self::Images, Self::Slides, Self::Videos, Self::Audio, Self::Static];

    /// The name as callers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Img => "img",
            Self::Images => "images",
            Self::Slides => "slides",
            Self::Videos => "videos",
            Self::Audio => "audio",
            Self::Static => "static",
        }
    }

    /// The folder that holds all assets of the type; that of `static` holds the others' too.
    pub fn folder(self) -> Folder {
        match self {
            Self::Static => Folder::assets(),
            other => Folder::assets().inner(other.as_str()),
        }
    }

    /// The path of an asset of this type.
    pub fn path_of(self, filename: &str) -> Result<BookPath, Refusal> {
        BookPath::parse(&format!("{}/{filename}", self.folder().as_str()))
    }

    /// The type and file name of a path; `None`: it is no asset.
    pub fn of(path: &BookPath) -> Option<(Self, &str)> {
        let rest = path.as_str().strip_prefix("static/")?;
        let folder = rest.split_once('/').and_then(|(folder, name)| {
            let named = Self::ALL.into_iter().find(|kind| kind.as_str() == folder);
            named.filter(|kind| *kind != Self::Static).map(|kind| (kind, name))
        });
        Some(folder.unwrap_or((Self::Static, rest)))
    }
}

/// An asset and who put it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its row, of the base.
    pub record: FileRecord,
    /// Who wrote what it holds now.
    pub agent: AgentId,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_type_is_a_folder_below_static() {
        for (kind, filename, path) in [
            (AssetType::Img, "logo.png", "static/img/logo.png"),
            (AssetType::Images, "a/b c/Ü.png", "static/images/a/b c/Ü.png"),
            (AssetType::Static, "CNAME", "static/CNAME"),
            (AssetType::Static, "fonts/x.woff2", "static/fonts/x.woff2"),
            (AssetType::Static, "static/x.png", "static/static/x.png"),
            (AssetType::Static, "img", "static/img"),
        ] {
            let parsed = kind.path_of(filename).unwrap();
            assert_eq!(parsed.as_str(), path);
            assert_eq!(AssetType::of(&parsed), Some((kind, filename)));
        }
        let inner = AssetType::Static.path_of("img/logo.png").unwrap();
        assert_eq!(AssetType::of(&inner), Some((AssetType::Img, "logo.png")), "one path, one pair");
        assert_eq!(AssetType::of(&BookPath::parse("content/img/x.png").unwrap()), None);
    }

    #[test]
    fn a_file_name_cannot_leave_its_folder() {
        for bad in ["", "/x.png", "../x.png", "a/../../x.png", "a//b.png", "a/", ".", "a\\b.png", "%2e%2e/x"]
        {
            let refused = AssetType::Slides.path_of(bad);
            assert!(matches!(refused, Err(Refusal::InvalidPath { .. })), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_named_lies_in_its_folder(filename in "[a-zA-Z./ ]{0,12}", kind in 0usize..6) {
            let kind = AssetType::ALL[kind];
            if let Ok(path) = kind.path_of(&filename) {
                prop_assert!(path.is_asset());
                let (from, to) = kind.folder().range();
                prop_assert!(path.as_str() >= from.as_str() && to.is_none_or(|to| path.as_str() < to.as_str()));
                let (kind, filename) = AssetType::of(&path).unwrap();
                prop_assert_eq!(kind.path_of(filename).unwrap(), path.clone());
            }
        }
    }
}
