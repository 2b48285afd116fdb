//! The registered clients, and the resources that they may ask tokens for.

mod client;
mod registration;
mod registry;
mod resources;

pub use client::{AuthenticatedClient, Client, ClientSecret, GrantType};
pub use registration::{ClientChange, Registration, RegistrationError};
pub use registry::{ClientError, ClientRegistry, Registered};
pub use resources::{ADMIN_SCOPE, ResourceServer, Resources};
