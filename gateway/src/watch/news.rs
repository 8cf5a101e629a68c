//! What comes of payments: to the log, the board and the alarm.

use billing::channel::Account;
use billing_ton::settler::{self, drive::News};
use tokio::sync::mpsc;

use super::{
    alarm::{Alarm, Alert},
    board::Board,
};

/// Until nobody tells any more.
pub(super) async fn hear(mut news: mpsc::Receiver<News>, alarm: Alarm, board: Board) {
    while let Some(news) = news.recv().await {
        let alert = |code, channel: Option<Account>, text: String| {
            let channel = channel.map(|channel| channel.to_string());
            alarm.sound(&board, Alert { code, text, channel });
        };
        match news {
            News::Accepted(_) => {}
            News::Done(key, _) => {
                board.settled.inc();
                tracing::info!(channel = %key.channel, "settled: the contract shows the payment");
            }
            News::Declined(key, why) => alert("declined", Some(key.channel), why.to_string()),
            News::GaveUp(key, why) => alert("gave_up", Some(key.channel), why.to_string()),
            News::Unsure(channel, why) => alert("unsure", Some(channel), why),
            News::Alert(settler::Alert::Recovered) => {
                board.trouble(None);
                tracing::info!("the wallet is well again");
            }
            News::Alert(settler::Alert::Trouble(trouble)) => {
                let text = trouble.to_string();
                board.trouble(Some(text.clone()));
                alert("wallet", None, text);
            }
            // It goes on by itself.
            News::Alert(settler::Alert::Expired) => {
                tracing::info!("a message of the wallet came to nothing; it is made anew");
            }
            News::Alert(other) => alert("payment", None, other.to_string()),
        }
    }
}
