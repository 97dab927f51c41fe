//! `baton-retool serve`

use super::{Failure, asked_to_stop, connector};
use crate::config::Settings;
use crate::server::Listening;

pub(super) async fn run(settings: Settings) -> Result<(), Failure> {
    let stop = asked_to_stop();
    let connector = connector(&settings)?;
    let listening = Listening::on(&settings.listen.host, settings.listen.port)
        .await
        .map_err(|error| Failure::Run(error.into()))?;
    tracing::info!(address = %listening.address(), version = env!("CARGO_PKG_VERSION"), "listening");
    listening.serve(connector, stop).await.map_err(|error| Failure::Run(error.into()))
}
