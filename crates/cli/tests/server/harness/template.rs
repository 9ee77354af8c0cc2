//! Template databases: of each engine one that is migrated once, for every environment to copy.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use panaversity_testkit::postgres;

use super::{BinaryCommand, binary};

/// Puts a migrated database without any rows at this path.
pub(super) fn copy_sqlite(to: &Path) {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("template.db");
        migrate(&mut binary(folder.path()), &format!("sqlite:{}", file.display()));
        fs::read(file).unwrap()
    });
    fs::write(to, template).unwrap();
}

/// Creates a migrated database without any rows; returns its URL.
pub(super) fn copy_postgres() -> String {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let url = postgres::shared().create_database();
        migrate(&mut binary(Path::new("/")), &url);
        url
    });
    postgres::shared().copy_database(template)
}

fn migrate(binary: &mut BinaryCommand, url: &str) {
    let output = binary.args(["migrate", "upgrade"]).env("DATABASE_URL", url).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
