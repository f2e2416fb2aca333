/// How much moves before one step unless an operator says otherwise: what moves in about half of a step.
public enum MigrationBudget {
    /// A move is taken to be so many times as slow as an exchange of as many bytes: it allocates, copies and forms checksums.
    public static let slowness = 4.0

    /// Bytes that all ranks together may send before a step.
    /// - Parameters:
    ///   - bytesPerSecond: of a rank in an exchange.
    ///   - measured: bytes a second of all ranks in the last move; nil: nothing has moved yet.
    /// - Returns: nil when it cannot be told.
    public static func bytes(
        stepSeconds: Double, bytesPerSecond: Double, worldSize: Int, measured: Double?
    ) -> Int? {
        let bytes = 0.5 * stepSeconds * (measured ?? bytesPerSecond * Double(worldSize) / slowness)
        return bytes.isFinite ? Int(min(max(bytes, 1), 1e15)) : nil
    }
}
