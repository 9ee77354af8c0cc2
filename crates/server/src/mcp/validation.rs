//! `validate_book`. The command `validate` prints the same body.

use panaversity_model::Layer;
use panaversity_model::validation::{Issue, ValidationReport};
use panaversity_service::Call;
use panaversity_service::json_size::PAGE_BYTES;
use serde_json::{Value, json};

use crate::AppState;
use crate::mcp::arguments::{Arguments, needed};
use crate::mcp::tool_output::ToolResult;

/// Most issues in an answer, errors first.
const MOST_ISSUES: usize = 1_000;

pub(super) async fn validate(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let access = call.may_read(needed("book_id", arguments.book()?)?, Layer::Base)?;
    let strict = arguments.flag("strict")?;
    let include_warnings = arguments.flag_or("include_warnings", true)?;
    let report = call.validate_book(&access).await?;
    Ok(validation_body(&report, strict, include_warnings).into())
}

/// A validation as JSON, bounded like a page of other tools: counts are exact, and `hint` says what is not
/// listed.
pub fn validation_body(report: &ValidationReport, strict: bool, include_warnings: bool) -> Value {
    let mut room = Room { issues: MOST_ISSUES, bytes: PAGE_BYTES };
    let errors = room.listed(&report.errors);
    let warnings = if include_warnings { room.listed(&report.warnings) } else { Vec::new() };
    let summary = &report.summary;
    let cut = (
        summary.error_count - errors.len(),
        if include_warnings { summary.warning_count - warnings.len() } else { 0 },
    );
    let mut body = json!({
        "valid": report.is_valid(strict),
        "summary": {
            "total_files": summary.total_files,
            "content_files": summary.content_files,
            "asset_files": summary.asset_files,
            "error_count": summary.error_count,
            "warning_count": summary.warning_count,
        },
        "errors": errors,
        "warnings": warnings,
    });
    if cut != (0, 0) {
        body["truncated"] = true.into();
        body["hint"] = format!(
            "{} errors and {} warnings are not listed: repair those that are, then validate again",
            cut.0, cut.1
        )
        .into();
    }
    body
}

/// Remaining capacity of an answer.
struct Room {
    issues: usize,
    bytes: u64,
}

impl Room {
    /// The first issues, as many as fit.
    fn listed(&mut self, issues: &[Issue]) -> Vec<Value> {
        let mut listed = Vec::new();
        for issue in issues {
            let body = json!({
                "path": issue.path,
                "severity": issue.severity.as_str(),
                "message": issue.located_message(),
                "suggestion": issue.suggestion,
            });
            let bytes = body.to_string().len() as u64 + 1;
            if self.issues == 0 || bytes > self.bytes {
                self.issues = 0;
                break;
            }
            self.issues -= 1;
            self.bytes -= bytes;
            listed.push(body);
        }
        listed
    }
}

#[cfg(test)]
mod tests {
    use panaversity_model::validation::{Severity, ValidationSummary};

    use super::*;

    fn report(errors: usize, warnings: usize, length: usize) -> ValidationReport {
        let issue = |severity| Issue {
            path: "content/x.md".to_owned(),
            line: Some(3),
            severity,
            message: "\u{1}".repeat(length),
            suggestion: String::new(),
        };
        ValidationReport {
            summary: ValidationSummary {
                total_files: 1,
                content_files: 1,
                asset_files: 0,
                error_count: errors,
                warning_count: warnings,
            },
            errors: vec![issue(Severity::Error); errors.min(1_000)],
            warnings: vec![issue(Severity::Warning); warnings.min(1_000)],
        }
    }

    #[test]
    fn an_answer_is_bounded_and_says_what_it_leaves_out() {
        let listed = |body: &Value, name: &str| body[name].as_array().unwrap().len();
        let body = validation_body(&report(2, 3, 1), false, true);
        assert_eq!((listed(&body, "errors"), listed(&body, "warnings")), (2, 3));
        assert_eq!(body.get("truncated"), None);
        let body = validation_body(&report(900, 2_000, 1), false, true);
        assert_eq!((listed(&body, "errors"), listed(&body, "warnings")), (900, 100));
        assert_eq!(
            body["hint"],
            "0 errors and 1900 warnings are not listed: repair those that are, then validate again"
        );
        let body = validation_body(&report(1_000, 5, 300), false, false);
        assert!(
            body.to_string().len() < 1_000_000 && listed(&body, "errors") < 500,
            "{}",
            listed(&body, "errors")
        );
        assert_eq!((listed(&body, "warnings"), &body["truncated"]), (0, &json!(true)));
        assert_eq!(body["summary"]["warning_count"], 5);
    }

    #[test]
    fn strict_takes_warnings_for_errors_whether_they_are_listed_or_not() {
        let warned = report(0, 1, 1);
        assert_eq!(validation_body(&warned, false, false)["valid"], true);
        assert_eq!(validation_body(&warned, true, false)["valid"], false);
        assert_eq!(validation_body(&report(0, 0, 1), true, true)["valid"], true);
    }
}
