import ControlProtocol
import Foundation
import Synchronization

/// What a rank and rank 0 tell each other when no launcher watches over them. Frames of the control protocol with JSON in them, over
/// its secure channel when there is a key; for processes of one version.
enum RankMessage: Codable, Hashable, Sendable {
    /// A rank has found the rank 0 of its world.
    case hello(world: String, rank: Int, host: String, processID: Int)
    /// All ranks have: from here on the end of one is the end of all.
    case begin(silenceSeconds: Double)
    /// It is this rank's turn to connect to rank 0's MPI port.
    case turn(port: String)
    case beat
    /// The end of a connection after this is nothing to worry about.
    case goodbye
    /// A rank has failed, and so has the job.
    case lost(rank: Int, reason: String)
}

/// A connection between a rank and rank 0. One task may send while another receives.
final class RankLink: Sendable {
    private let stream: SecureStream
    private let decoder: Mutex<FrameDecoder>
    private let limits: Limits

    init(_ stream: SecureStream, limits: Limits) {
        self.stream = stream
        var limits = limits
        limits.frameBytes = limits.rankMessageBytes
        self.limits = limits
        decoder = Mutex(FrameDecoder(limits: limits))
    }

    func send(_ message: RankMessage) async throws {
        try await stream.write(Frame.encode(JSONEncoder().encode(message), limits: limits))
    }

    func receive() async throws -> RankMessage {
        while true {
            if let payload = try decoder.withLock({ decoder throws(ControlError) in try decoder.next() }) {
                return try JSONDecoder().decode(RankMessage.self, from: payload)
            }
            let bytes = try await stream.read()
            decoder.withLock { $0.append(bytes) }
        }
    }

    /// While no task sends or receives.
    func close() { stream.close() }
}
