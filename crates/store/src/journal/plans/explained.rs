//! Plans that PostgreSQL has carried out and written into its log with `auto_explain`.

use serde_json::Value;

/// Rows of tables that a statement may read: some, and so many for each that it returns, writes or is given.
const ROWS: (f64, f64) = (10.0, 4.0);
/// The same for pages, which also tell of entries of indexes that are skipped or dead.
const PAGES: (f64, f64) = (64.0, 40.0);
/// Statements that read no book, and those on publications that wait for a clean point, few besides which exist.
const EXEMPT: [&str; 3] = ["schema_migrations", "pg_locks", "DELETE FROM publications"];

/// All plans of a log.
pub(super) fn plans(log: &str) -> Vec<Value> {
    let starts = log.match_indices("  plan:\n").map(|(at, _)| &log[at + "  plan:\n".len()..]);
    starts.map(|text| serde_json::Deserializer::from_str(text).into_iter().next().unwrap().unwrap()).collect()
}

/// Rows that the nodes of a plan have read, and those that it was given as a list.
#[derive(Default)]
struct Tally {
    read: f64,
    given: f64,
}

impl Tally {
    fn add(&mut self, node: &Value) {
        let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
        let removed = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
        let rows = (number("Actual Rows") + removed) * number("Actual Loops");
        match node["Node Type"].as_str().unwrap() {
            "Values Scan" | "Function Scan" => self.given += rows,
            scan if scan.ends_with("Scan") && node["Relation Name"].is_string() => self.read += rows,
            _ => {}
        }
        node["Plans"].as_array().into_iter().flatten().for_each(|child| self.add(child));
    }
}

/// Says what is wrong with a plan; `None`: it reads no more than it returns.
pub(super) fn offence(explained: &Value) -> Option<String> {
    let (sql, plan) = (explained["Query Text"].as_str().unwrap(), &explained["Plan"]);
    if EXEMPT.iter().any(|exempt| sql.contains(exempt)) {
        return None;
    }
    let mut tally = Tally::default();
    tally.add(plan);
    // A statement that writes returns nothing, but its input.
    let written =
        if plan["Node Type"] == "ModifyTable" { &plan["Plans"][0]["Actual Rows"] } else { &Value::Null };
    let returned = plan["Actual Rows"].as_f64().unwrap().max(written.as_f64().unwrap_or(0.0));
    let (wanted, pages) = (returned + tally.given, &plan["Shared Hit Blocks"]);
    let pages = pages.as_f64().unwrap() + plan["Shared Read Blocks"].as_f64().unwrap();
    // An insert visits a page or more of each index.
    let few_pages = sql.starts_with("INSERT INTO audit_log") || pages <= PAGES.0 + PAGES.1 * wanted;
    let is_fine = tally.read <= ROWS.0 + ROWS.1 * wanted && few_pages;
    let scans = || scans(plan).join(", ");
    (!is_fine)
        .then(|| format!("{} rows and {pages} pages read for {wanted}: {sql}\n    {}", tally.read, scans()))
}

/// The nodes of a plan that read tables.
fn scans(node: &Value) -> Vec<String> {
    let name = |field: &str| node[field].as_str().unwrap_or_default().to_owned();
    let own = node["Node Type"].as_str().filter(|kind| kind.ends_with("Scan"));
    let own = own.map(|kind| format!("{kind} {} {}", name("Relation Name"), name("Index Name")));
    own.into_iter().chain(node["Plans"].as_array().into_iter().flatten().flat_map(scans)).collect()
}
