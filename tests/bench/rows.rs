//! The rows of the report, a module each.

mod fleet;
mod memory;
mod neighbour;
mod shards;
mod startup;
mod throughput;

use anyhow::{Result, bail};

use crate::context::Context;
use crate::row::Row;

/// Their names, in the order in which they are measured.
pub(crate) const ROWS: [&str; 7] = ["startup", "throughput", "gzip", "fleet", "shards", "neighbour", "memory"];

/// Measures a row; some measurements give two.
pub(crate) async fn measure(context: &Context<'_>, name: &str) -> Result<Vec<Row>> {
    match name {
        "throughput" => throughput::plain(context).await,
        "startup" => startup::beside_hello(context).await,
        "fleet" => fleet::tick(context).await,
        "shards" => shards::parallel(context).await,
        "neighbour" => neighbour::latency(context).await,
        "memory" => memory::growth(context).await,
        "gzip" => throughput::gzip(context).await,
        unknown => bail!("there is no row {unknown}"),
    }
}
