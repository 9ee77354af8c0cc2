//! Logging to stderr: one line per event, as JSON or as text. Line breaks and control characters in
//! field values are escaped, so an event never spans several lines.

mod fields;

use std::fmt;

use panaversity_model::Timestamp;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::config::Sources;
use crate::config::log::{Form, LogLevel, LogSettings};
use crate::failure::Failure;

/// Installs the global subscriber, which logs to stderr, and the panic hook. A second call does not
/// change the subscriber.
pub(crate) fn start(settings: LogSettings) {
    let _ = tracing::subscriber::set_global_default(subscriber(settings, now, std::io::stderr));
    report_panics();
}

/// Subscriber that writes the lines of the log to `writer`, as the binary writes them to stderr. The settings
/// are named as in the environment, which itself is not read.
///
/// # Errors
/// A setting is wrong.
pub fn log_subscriber<W>(
    settings: &[(&str, &str)],
    writer: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, Failure>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let settings = LogSettings::read(&Sources::of_environment(settings))?;
    Ok(subscriber(settings, now, writer))
}

fn subscriber<W>(settings: LogSettings, now: fn() -> Timestamp, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .event_format(LogFormatter { form: settings.form, now })
        // On a failed write it would report the error to the same stderr, and panic.
        .log_internal_errors(false)
        .with_writer(writer);
    tracing_subscriber::registry().with(filter(settings.level)).with(lines)
}

fn least(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

/// Filter by target: this program's events from `level` on, those of libraries only from `WARNING`
/// on, because below that they write several lines per request and quote what a request contains.
fn filter(level: LogLevel) -> Targets {
    let ours = least(level);
    Targets::new()
        .with_default(ours.min(LevelFilter::WARN))
        // Its warnings are about errors of clients, and quote their messages.
        .with_target("rmcp", ours.min(LevelFilter::ERROR))
        .with_target("panaversity_", ours)
}

/// Installs a hook that logs panics as events. Only a message that is a literal of the program is
/// logged: one formatted at run time may quote content.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload().downcast_ref::<&'static str>().copied();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(target: "panaversity_fs.server", place, reason = message, "a bug: the program panicked");
    }));
}

/// The time of this machine.
pub(crate) fn now() -> Timestamp {
    let nanos = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
    Timestamp::from_micros(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX))
}

/// Formatter of events. Spans are not written: an event contains all fields it needs.
struct LogFormatter {
    form: Form,
    now: fn() -> Timestamp,
}

impl<S, N> FormatEvent<S, N> for LogFormatter
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (about, at) = (event.metadata(), (self.now)().to_string());
        let (level, logger) = (level_name(*about.level()), logger_name(about.target()));
        let fields = fields::Fields::of(self.form, event);
        match self.form {
            Form::Json => {
                write!(writer, "{{\"timestamp\":\"{at}\",\"level\":\"{level}\",\"logger\":")?;
                writer.write_str(&fields::json_text(&logger))?;
                writer.write_str(",\"message\":")?;
                writer.write_str(&fields::json_text(&fields.message))?;
                writeln!(writer, "{}}}", fields.rest)
            }
            Form::Text => {
                let second = &at[.."2025-12-04T10:30:00".len()];
                let message = fields::plain(&fields.message);
                writeln!(writer, "{second}Z {level:<5} [{logger}] {message}{}", fields.rest)
            }
        }
    }
}

fn level_name(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "ERROR",
        tracing::Level::WARN => "WARNING",
        tracing::Level::INFO => "INFO",
        tracing::Level::DEBUG | tracing::Level::TRACE => "DEBUG",
    }
}

/// The logger's name for a target: `panaversity_service::publish` becomes `panaversity_fs.publish`,
/// whichever crate the module is in.
fn logger_name(target: &str) -> String {
    let dotted = target.replace("::", ".");
    let Some(ours) = dotted.strip_prefix("panaversity_") else { return dotted };
    match ours.split_once('.') {
        Some((_, module)) => format!("panaversity_fs.{module}"),
        None => "panaversity_fs".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex, PoisonError};

    use tracing::{debug, info, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: Form, level: LogLevel, work: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let now = || Timestamp::parse("2025-12-04T10:30:00.012345Z").unwrap();
        let subscriber = subscriber(LogSettings { level, form }, now, move || writer.clone());
        tracing::subscriber::with_default(subscriber, work);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn a_tool_call() {
        let nothing: Option<&str> = None;
        info!(
            target: "panaversity_fs.tools.content",
            book_id = "ai-python",
            path = "content/01-Part/a b.md",
            size = 2345,
            whole = true,
            nothing,
            error = %"line\nbreak \"quoted\"",
            "write_content"
        );
    }

    #[test]
    fn a_json_line_is_exactly_this() {
        assert_eq!(
            logged(Form::Json, LogLevel::Info, a_tool_call),
            concat!(
                r#"{"timestamp":"2025-12-04T10:30:00.012345Z","level":"INFO","logger":"panaversity_fs.tools.content","#,
                r#""message":"write_content","book_id":"ai-python","path":"content/01-Part/a b.md","size":2345,"#,
                r#""whole":true,"error":"line\nbreak \"quoted\""}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_text_line_is_exactly_this() {
        assert_eq!(
            logged(Form::Text, LogLevel::Info, a_tool_call),
            concat!(
                "2025-12-04T10:30:00Z INFO  [panaversity_fs.tools.content] write_content book_id=ai-python ",
                r#"path="content/01-Part/a b.md" size=2345 whole=true error="line\nbreak \"quoted\"""#,
                "\n"
            )
        );
    }

    #[test]
    fn every_json_line_parses_whatever_it_says() {
        let nasty = "\u{1b}[31m\u{0}\r\n\u{2028}\u{7f}é";
        let text = logged(Form::Json, LogLevel::Info, || {
            warn!(level = nasty, r#type = 1.5, bad = f64::NAN, big = u64::MAX, odd = ?nasty, "{nasty}");
        });
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], nasty);
        assert_eq!((&line["level"], &line["level_"]), (&"WARNING".into(), &nasty.into()));
        assert_eq!((&line["type"], &line["big"]), (&1.5.into(), &u64::MAX.into()));
        assert_eq!(line["bad"], "NaN");
        let text = logged(Form::Text, LogLevel::Info, || warn!(nasty, "{nasty}"));
        assert!(!text.trim_end_matches('\n').contains(char::is_control), "{text:?}");
    }

    #[test]
    fn the_libraries_are_quiet_and_ours_speak_at_the_level_asked_for() {
        let speak = || {
            debug!("ours");
            debug!(target: "sqlx::query", "theirs");
            info!(target: "rmcp::service", "theirs");
            warn!(target: "rmcp::service", "theirs");
            warn!(target: "hyper", "theirs");
            warn!(target: "panaversity_service::publish", "ours");
        };
        let loggers = |level| {
            let text = logged(Form::Json, level, speak);
            let logger = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["logger"].clone();
            text.lines().map(|line| logger(line).as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            loggers(LogLevel::Debug),
            ["panaversity_fs.logging.tests", "hyper", "panaversity_fs.publish"]
        );
        assert_eq!(loggers(LogLevel::Info), ["hyper", "panaversity_fs.publish"]);
        assert!(loggers(LogLevel::Error).is_empty());
    }

    #[test]
    fn a_logger_is_a_dotted_name_of_ours() {
        assert_eq!(logger_name("panaversity_service::publish"), "panaversity_fs.publish");
        assert_eq!(logger_name("panaversity_store::sql::commit"), "panaversity_fs.sql.commit");
        assert_eq!(logger_name("panaversity_fs"), "panaversity_fs");
        assert_eq!(logger_name("panaversity_fs.audit"), "panaversity_fs.audit");
        assert_eq!(logger_name("sqlx::query"), "sqlx.query");
    }
}
