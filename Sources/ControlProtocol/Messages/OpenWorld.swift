/// Rank 0 of a world that is complete says where the others find it. Over the connection with which it joined.
public struct OpenWorld: ControlRequest {
    public static let type = "open_world"
    public typealias Reply = Acknowledged

    public var world: String
    /// HOST:PORT.
    public var address: String

    public init(world: String, address: String) {
        self.world = world
        self.address = address
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.text(world, "world", bytes: limits.identifierBytes)
        // A colon, a port and the brackets of an IPv6 address.
        try check.text(address, "address", bytes: limits.hostNameBytes + 8)
        _ = try Endpoint(address)
    }
}
