//! The registered clients, and the resources that they may ask tokens for.

mod client;
mod intended;
mod limits;
mod mirror;
mod reading;
mod registration;
mod registry;
mod resources;

use crate::store::Table;

pub use client::{
    AuthMethod, AuthenticatedClient, Client, ClientSecret, ConsentRule, GrantType, Registrant, UnknownWord,
};
pub use intended::{IntendedChange, IntendedSecret};
pub use limits::RegistrationError;
pub use reading::ClientsReading;
pub use registration::{ClientChange, Registration};
pub use registry::{ClientError, ClientRegistry, Registered, Stranded};
pub use resources::{ADMIN_SCOPE, ResourceServer, Resources, lend};

/// Every table of this room.
pub const TABLES: [Table; 1] = [registry::TABLE];
