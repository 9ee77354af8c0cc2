//! The success criteria: names, targets, queries, and how a measured value is judged.

/// A criterion.
pub(super) struct Criterion {
    id: &'static str,
    name: &'static str,
    target: &'static str,
    unit: &'static str,
    /// Prometheus query; `{window}` stands for the time to look back.
    query: &'static str,
    is_met: fn(f64) -> bool,
}

/// Result of a measurement.
pub(super) struct Measured {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) target: &'static str,
    unit: &'static str,
    /// `None`: nothing of the kind happened.
    pub(super) value: Option<f64>,
    pub(super) verdict: Verdict,
}

/// Judgement of a criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    Missed,
    NoData,
}

impl Verdict {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::NoData => "no data",
        }
    }
}

/// Criteria that Prometheus measures.
pub(super) const QUERIES: [Criterion; 7] = [
    Criterion {
        id: "SC-001",
        name: "archive downloads, 99th percentile",
        target: "< 60 s",
        unit: "s",
        query: "histogram_quantile(0.99, sum by (le) (rate(panaversityfs_archive_duration_seconds_bucket[{window}])))",
        is_met: |seconds| seconds < 60.0,
    },
    Criterion {
        id: "SC-001",
        name: "memory of archives, highest of a server",
        target: "< 64 MB",
        unit: "bytes",
        query: "max(max_over_time(panaversityfs_archive_memory_bytes[{window}]))",
        is_met: |bytes| bytes < 64_000_000.0,
    },
    Criterion {
        id: "SC-003",
        name: "conflicting writes are counted",
        target: "counted",
        unit: "",
        query: "sum(increase(panaversityfs_write_total{status=\"conflict\"}[{window}]))",
        is_met: |_| true,
    },
    Criterion {
        id: "SC-004",
        name: "audit chains valid on every server",
        target: "1",
        unit: "",
        query: "min(panaversityfs_audit_chain_valid)",
        is_met: |valid| valid >= 1.0,
    },
    Criterion {
        id: "SC-006",
        name: "overlay reads, 95th percentile",
        target: "< 10 ms",
        unit: "s",
        query: "histogram_quantile(0.95, sum by (le) (rate(panaversityfs_overlay_latency_seconds_bucket[{window}])))",
        is_met: |seconds| seconds < 0.010,
    },
    Criterion {
        id: "SC-007",
        name: "files of a delta, part of its book, on average",
        target: "<= 0.5",
        unit: "",
        query: "max(sum by (book_id) (increase(panaversityfs_delta_files_count_sum[{window}])) \
                / sum by (book_id) (increase(panaversityfs_delta_files_count_count[{window}])) \
                / max by (book_id) (panaversityfs_journal_entries_total > 20))",
        is_met: |part| part <= 0.5,
    },
    Criterion {
        id: "SC-010",
        name: "operations of the storage that succeed",
        target: ">= 99.9 %",
        unit: "%",
        query: "100 * sum(increase(panaversityfs_storage_operations_total{status=\"success\"}[{window}])) \
                / sum(increase(panaversityfs_storage_operations_total[{window}]))",
        is_met: |percent| percent >= 99.9,
    },
];

impl Criterion {
    /// Objects without a row that are older than the retention.
    pub(super) const ORPHANS: Self = Self::none("SC-002", "objects that nothing names, past the retention");
    /// Entries of the tree that are no file of a book.
    pub(super) const STRAYS: Self = Self::none("SC-005", "paths in the tree that no book has");
    /// Audit entries without a real agent.
    pub(super) const AGENTS: Self = Self::none("SC-009", "audit entries without a real agent");

    const fn none(id: &'static str, name: &'static str) -> Self {
        Self { id, name, target: "0", unit: "", query: "", is_met: |count| count < 1.0 }
    }

    /// The query over a window.
    pub(super) fn query(&self, window: &str) -> String {
        self.query.replace("{window}", window)
    }

    /// Judges a value; none, and the quotient of nothing by nothing, is no data.
    pub(super) fn judge(&self, value: Option<f64>) -> Measured {
        let value = value.filter(|value| !value.is_nan());
        let verdict = match value {
            None => Verdict::NoData,
            Some(value) if (self.is_met)(value) => Verdict::Met,
            Some(_) => Verdict::Missed,
        };
        Measured { id: self.id, name: self.name, target: self.target, unit: self.unit, value, verdict }
    }

    /// Judges a count.
    pub(super) fn judge_count(&self, count: u64) -> Measured {
        // Only zero matters, which a float has exactly.
        self.judge(Some(f64::from(u32::try_from(count).unwrap_or(u32::MAX))))
    }
}

impl Measured {
    /// The value with its unit.
    pub(super) fn shown(&self) -> String {
        match self.value {
            None => "-".to_owned(),
            Some(seconds) if self.unit == "s" => format!("{:.2} ms", seconds * 1_000.0),
            Some(value) if self.unit == "%" => format!("{value:.3} %"),
            Some(value) if self.unit == "bytes" => format!("{:.2} MB", value / 1e6),
            Some(value) => format!("{}", (value * 1_000.0).round() / 1_000.0),
        }
    }
}

/// A duration as Prometheus spells it, such as `7d`.
pub(super) fn window(text: &str) -> Result<String, String> {
    let (digits, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let is_sound = matches!(unit, "s" | "m" | "h" | "d" | "w")
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.bytes().any(|byte| byte != b'0');
    if is_sound {
        Ok(text.to_owned())
    } else {
        Err("it must be a number and s, m, h, d or w, such as 7d".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_judged_by_its_target_and_no_data_is_no_miss() {
        let verdict = |index: usize, value| QUERIES[index].judge(value).verdict;
        assert_eq!(verdict(0, Some(59.9)), Verdict::Met);
        assert_eq!(verdict(0, Some(60.0)), Verdict::Missed);
        assert_eq!(verdict(0, Some(f64::NAN)), Verdict::NoData);
        assert_eq!(verdict(0, None), Verdict::NoData);
        assert_eq!(verdict(3, Some(0.0)), Verdict::Missed);
        assert_eq!(verdict(6, Some(99.89)), Verdict::Missed);
        assert_eq!(Criterion::ORPHANS.judge_count(0).verdict, Verdict::Met);
        assert_eq!(Criterion::STRAYS.judge_count(u64::MAX).verdict, Verdict::Missed);
    }

    #[test]
    fn a_window_is_a_number_and_a_unit() {
        assert!(["7d", "30m", "1h", "90s", "2w"].iter().all(|text| window(text).is_ok()));
        for bad in ["", "d", "7", "7 d", "0d", "-1d", "7d]", "7y", "1é"] {
            assert!(window(bad).is_err(), "{bad}");
        }
    }
}
