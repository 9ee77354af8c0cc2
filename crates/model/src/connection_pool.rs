//! Use of a database's connection pool, as metrics show it.

/// Connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolUsage {
    /// Open connections that a call uses.
    pub in_use: u32,
    /// Open connections that wait for a call.
    pub idle: u32,
    /// Most connections that may be open.
    pub max: u32,
}
