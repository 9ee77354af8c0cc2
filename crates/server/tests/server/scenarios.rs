//! One scenario suite through the MCP door, on both databases (I11): what an agent may rely on.

/// Makes two tests of each scenario, one per database.
macro_rules! on_both_databases {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario(crate::harness::Db::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario(crate::harness::Db::Postgres).await;
            })+
        }
    };
}

mod audit;
mod books;
mod builds;
mod overlays;
mod paging;
mod random;
mod reading;
mod writing;
