//! Assets: files below `static/` and the files beside pages, named by callers as a type and a file name.
//! The mapping between paths and such pairs is one to one; the name is stored as given.
//!
//! # Names
//! `img`, `images`, `slides`, `videos` and `audio` are the folders `static/{type}/`, and the file name,
//! which may contain `/`, is the rest of the path. The type `static` is everything else below
//! `static/`: the file name is the path there. The type `content` is the path below `content/`.
//! Callers repeat the folder by mistake, so a file name that begins with it is refused, unless it is
//! prefixed with `./` to denote a folder of that name. Admitted paths of a book: see
//! [`grammar`](crate::grammar).

use std::borrow::Cow;

use crate::agent::AgentId;
use crate::file::FileRecord;
use crate::path::{BookPath, Folder};
use crate::refusal::Refusal;

/// Type of an asset: the folder it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetType {
    /// `static/img/`.
    Img,
    /// `static/images/`, distinct from `static/img/`.
    Images,
    /// `static/slides/`.
    Slides,
    /// `static/videos/`.
    Videos,
    /// `static/audio/`.
    Audio,
    /// Below `static/`, in none of the other folders.
    Static,
    /// Below `content/`, beside the pages.
    Content,
}

impl AssetType {
    /// All types, for schemas.
    pub const ALL: [Self; 7] =
        [Self::Img, Self::Images, Self::Slides, Self::Videos, Self::Audio, Self::Static, Self::Content];

    /// Name as used by callers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Img => "img",
            Self::Images => "images",
            Self::Slides => "slides",
            Self::Videos => "videos",
            Self::Audio => "audio",
            Self::Static => "static",
            Self::Content => "content",
        }
    }

    /// Folder that contains all assets of the type; the one of `static` contains the others' too.
    pub fn folder(self) -> Folder {
        match self {
            Self::Static => Folder::assets(),
            Self::Content => Folder::content(),
            other => Folder::assets().inner(other.as_str()),
        }
    }

    /// The path of an asset of this type.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the file name repeats the folder, `INVALID_PATH` if the path is unsafe.
    pub fn path_of(self, filename: &str) -> Result<BookPath, Refusal> {
        let prefix = format!("{}/", self.folder().as_str());
        if let Some(rest) = filename.strip_prefix(&prefix) {
            let why = format!(
                "`{prefix}` is put before it by asset_type: give `{rest}`; \
                 if a folder of that name in it is meant, `./{filename}`"
            );
            return Err(Refusal::argument("filename", why));
        }
        BookPath::parse(&format!("{prefix}{}", filename.strip_prefix("./").unwrap_or(filename)))
    }

    /// Type and file name of a path, the inverse of [`path_of`](Self::path_of); `None`: it is not the path
    /// of a file in a book.
    pub fn of(path: &BookPath) -> Option<(Self, Cow<'_, str>)> {
        let folder = |kind: &Self| path.as_str().strip_prefix(&format!("{}/", kind.folder().as_str()));
        // The folders below `static/` precede it in `ALL`.
        let (kind, name) = Self::ALL.iter().find_map(|kind| Some((*kind, folder(kind)?)))?;
        let repeats = name.starts_with(&format!("{}/", kind.folder().as_str()));
        Some((kind, if repeats { format!("./{name}").into() } else { name.into() }))
    }

    /// True if lists of this type include the path: it lies in the type's folder, has no narrower type
    /// and is not a page.
    pub fn lists(self, path: &BookPath) -> bool {
        !path.is_page() && Self::of(path).is_some_and(|(kind, _)| kind == self)
    }
}

/// An asset and the agent that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Journal row, of the base.
    pub record: FileRecord,
    /// Agent that wrote the current content.
    pub agent: AgentId,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorCode;

    #[test]
    fn a_type_is_a_folder_below_static() {
        for (kind, filename, path) in [
            (AssetType::Img, "logo.png", "static/img/logo.png"),
            (AssetType::Images, "a/b c/Ü.png", "static/images/a/b c/Ü.png"),
            (AssetType::Static, "CNAME", "static/CNAME"),
            (AssetType::Static, "fonts/x.woff2", "static/fonts/x.woff2"),
            (AssetType::Static, "./static/x.png", "static/static/x.png"),
            (AssetType::Static, "img", "static/img"),
            (AssetType::Img, "./static/img/x.png", "static/img/static/img/x.png"),
            (AssetType::Img, "img/x.png", "static/img/img/x.png"),
            (AssetType::Content, "img/p.png", "content/img/p.png"),
            (AssetType::Content, "./content/p.png", "content/content/p.png"),
            (AssetType::Content, "static/p.png", "content/static/p.png"),
        ] {
            let parsed = kind.path_of(filename).unwrap();
            assert_eq!(parsed.as_str(), path);
            assert_eq!(AssetType::of(&parsed), Some((kind, filename.into())));
        }
        let inner = AssetType::Static.path_of("img/logo.png").unwrap();
        assert_eq!(AssetType::of(&inner), Some((AssetType::Img, "logo.png".into())), "one path, one pair");
    }

    #[test]
    fn a_file_name_that_repeats_its_folder_is_refused_with_the_one_to_give() {
        for (kind, filename, meant) in [
            (AssetType::Img, "static/img/x.png", "`x.png`"),
            (AssetType::Static, "static/CNAME", "`CNAME`"),
            (AssetType::Content, "content/img/x.png", "`img/x.png`"),
        ] {
            let refused = kind.path_of(filename).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::InvalidArgument);
            let text = refused.to_string();
            assert!(text.contains(meant) && text.contains(&format!("`./{filename}`")), "{text}");
        }
    }

    #[test]
    fn pages_are_no_assets_and_what_lies_beside_them_is() {
        for (path, listed) in [
            ("content/a.md", false),
            ("content/a.mdx", false),
            ("content/a.MD", true),
            ("content/data.csv", true),
            ("content/_category_.json", true),
            ("static/a.md", false),
        ] {
            assert_eq!(AssetType::Content.lists(&BookPath::parse(path).unwrap()), listed, "{path}");
        }
        assert!(AssetType::Static.lists(&BookPath::parse("static/a.md").unwrap()));
        assert!(!AssetType::Static.lists(&BookPath::parse("static/img/a.png").unwrap()));
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
        fn what_is_named_lies_in_its_folder(filename in "(static/|content/|img/|\\./)?[a-zA-Z./ ]{0,12}", kind in 0usize..7) {
            let kind = AssetType::ALL[kind];
            if let Ok(path) = kind.path_of(&filename) {
                let (from, to) = kind.folder().range();
                prop_assert!(path.as_str() >= from.as_str() && to.is_none_or(|to| path.as_str() < to.as_str()));
                let (kind, filename) = AssetType::of(&path).unwrap();
                prop_assert_eq!(kind.path_of(&filename).unwrap(), path.clone());
            }
        }
    }
}
