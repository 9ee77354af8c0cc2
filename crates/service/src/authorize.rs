//! Authorization of calls. Every caller may do everything: there is no authentication yet.

use panaversity_model::Refusal;

use crate::call::Call;

impl Call {
    /// Refuses a call that its caller may not make.
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "every caller is allowed today")]
    pub(crate) fn authorize(&self) -> Result<(), Refusal> {
        Ok(())
    }
}
