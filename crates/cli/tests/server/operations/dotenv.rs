//! `.env` of other programs: its lines stop no command and are reported once.

use std::fs;

use serde_json::json;

use crate::fixtures::{LESSON, created};
use crate::harness::{Db, TestEnv, log_watch};
use crate::operations::starting::{one_line, refused};

/// Lines that stop other readers, each with what follows it.
const OTHERS: &str = "\u{feff}APP_NAME=My App\r\nMOTTO=don't stop\r\nX={\"a\": 1}\nP=C:\\new\\temp\n\
    PEM=\"-----BEGIN\nMIIB==\n-----END\"\nOPEN=\"never closed hunter22\n";
const SKIPPED: &str = ".env lines 1, 2, 3, 4, 8 cannot be read and are skipped";

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_others_stop_no_command_and_are_told_once() {
    let env = TestEnv::new(Db::Sqlite);
    log_watch::secret("hunter22");
    fs::write(env.folder().join(".env"), format!("{OTHERS}PANAVERSITY_RETENTION_DAYS=29\n")).unwrap();
    // A store that the commands find.
    let server = env.start().await;
    created(&server.client(), LESSON, "one", json!({})).await;
    let told = |log: &str| log.matches(SKIPPED).count();
    for command in [&["migrate", "current"][..], &["gc", "--dry-run"], &["reconcile"], &["config", "check"]] {
        let output = env.command().args(command).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{command:?}: {said}");
        assert_eq!(told(&said), 1, "{command:?}: {said}");
        assert!(!said.contains("hunter22"), "{said}");
    }
    let (_, log) = refused(&env.with("DATABASE_URL", "sqlite:/dev/null/x.db"), &[]);
    assert_eq!(told(&log), 1, "also by `serve`: {log}");
}

#[test]
fn a_line_of_ours_is_read_or_refused() {
    let env = TestEnv::new(Db::Sqlite);
    let file = env.folder().join(".env");
    for (line, said) in [
        (
            "PANAVERSITY_S3_BUCKET=hun ter2",
            ".env line 2: PANAVERSITY_S3_BUCKET cannot be read: put the value in single quotes",
        ),
        (
            "DATABASE_URL_FILE=\"hunter22",
            ".env line 2: DATABASE_URL_FILE cannot be read: its quote does not end",
        ),
        ("PANAVERSITY_ENV=prod", "PANAVERSITY_ENV is \"prod\""),
    ] {
        fs::write(&file, format!("A=B C\n{line}\n")).unwrap();
        let (exit, stderr) = refused(&env, &[]);
        assert_eq!(exit, Some(2), "{stderr}");
        one_line(&stderr, said);
        assert!(!stderr.contains("hun"), "{stderr}");
    }
    fs::write(&file, "PANAVERSITY_CDN_BASE_URL=https://cdn.example/a$b\n").unwrap();
    let output = env.command().args(["config", "check"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("PANAVERSITY_CDN_BASE_URL=https://cdn.example/a  (PANAVERSITY_CDN_BASE_URL)"),
        "{said}"
    );
    assert!(
        said.contains("note   settings: .env line 1: PANAVERSITY_CDN_BASE_URL names $b, which is not set"),
        "{said}"
    );

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let (exit, stderr) = refused(&env, &[]);
    assert_eq!(exit, Some(2));
    one_line(&stderr, ".env is a folder: remove it");
}
