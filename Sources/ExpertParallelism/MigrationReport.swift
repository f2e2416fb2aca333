/// What a change of placement did, on one rank.
public struct MigrationReport: Hashable, Sendable {
    /// The layers that switched, in the order in which they did.
    public var layers = [Int]()
    /// Weights and moments that all ranks sent, and this one.
    public var totalBytes = 0
    public var sentBytes = 0
    /// Wall-clock seconds of it all but the checksums, waiting for other ranks included.
    public var transferSeconds = 0.0
    /// Wall-clock seconds of forming and comparing checksums.
    public var checksumSeconds = 0.0

    /// All of it.
    public var seconds: Double { transferSeconds + checksumSeconds }

    public init() {}

    public static func += (sum: inout MigrationReport, other: MigrationReport) {
        sum.layers += other.layers
        sum.totalBytes += other.totalBytes
        sum.sentBytes += other.sentBytes
        sum.transferSeconds += other.transferSeconds
        sum.checksumSeconds += other.checksumSeconds
    }
}
