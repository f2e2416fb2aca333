/// Where the coordinator tells over HTTP how it is and what it knows, and whom.
public struct HTTPConfiguration: Sendable {
    public let listener: Listener
    /// What clients have to send; nil: everybody who reaches the listener is told.
    public let token: BearerToken?

    public init(listener: Listener, token: BearerToken? = nil) {
        self.listener = listener
        self.token = token
    }
}
