//! The rows of the report.

mod fleet;
mod manifests;
mod memory;
mod neighbor;
mod shards;
mod startup;
mod throughput;

use anyhow::{Result, bail};

use crate::context::Context;
use crate::row::Row;

/// Measures the row of a name. `throughput` returns two rows.
pub(crate) async fn measure(context: &Context<'_>, name: &str) -> Result<Vec<Row>> {
    match name {
        "throughput" => throughput::plain(context).await,
        "startup" => startup::beside_hello(context).await,
        "fleet" => fleet::tick(context).await,
        "manifests" => manifests::on_and_off(context).await,
        "shards" => shards::parallel(context).await,
        "neighbor" => neighbor::latency(context).await,
        "memory" => memory::growth(context).await,
        "gzip" => throughput::gzip(context).await,
        "ocsf" => throughput::ocsf(context).await,
        unknown => bail!("there is no row {unknown}"),
    }
}
