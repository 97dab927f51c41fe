//! `baton-retool serve`

use std::sync::Arc;

use super::{Failure, asked_to_stop, connector};
use crate::config::Settings;
use crate::proto;
use crate::server::Listening;

pub(super) async fn run(settings: Settings) -> Result<(), Failure> {
    let stop = asked_to_stop();
    // An agent asks as soon as the port is open; what it waits for then is begun now, side by side.
    tokio::task::spawn_blocking(proto::warm_up);
    let connector = connector(&settings)?;
    let first_look = Arc::clone(&connector);
    tokio::spawn(async move {
        match first_look.validate_once().await {
            Ok(()) => tracing::info!("the database can be read"),
            Err(error) => tracing::warn!(%error, "the database cannot be read yet"),
        }
    });
    let listening = Listening::on(&settings.listen.host, settings.listen.port)
        .await
        .map_err(|error| Failure::Run(error.into()))?;
    tracing::info!(address = %listening.address(), version = env!("CARGO_PKG_VERSION"), "listening");
    listening.serve(connector, stop).await.map_err(|error| Failure::Run(error.into()))
}
