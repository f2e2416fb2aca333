import Checkpoints
import ControlProtocol
import ExpertPlacement
import Files
import Foundation
import Listings
import Mixtral
import Safetensors
import TokenData
import Traces
import Upcycling

/// Why a command ends, with the exit code of the process.
struct CommandFailure: Error {
    static let failed: Int32 = 1
    /// `EX_UNAVAILABLE` of BSD's `sysexits.h`.
    static let coordinatorUnreachable: Int32 = 69
    /// `EX_NOPERM`.
    static let refused: Int32 = 77

    let code: Int32
    let message: String

    init(code: Int32 = failed, _ message: String) {
        self.code = code
        self.message = message
    }

    /// Nil for what swift-argument-parser throws, which has its own messages and codes.
    init?(_ error: any Error) {
        switch error {
        case let error as CommandFailure: self = error
        case let error as FileError where error.path == StandardOutput.name: self.init(error.description)
        case let error as FileError:
            self.init("\(error.path) cannot be written: \(error.reason); \(error.remedy)")
        case let error as TokenDataError: self.init(error.description)
        case let error as TraceError: self.init(error.description)
        case let error as PlacementError: self.init(error.description)
        case let error as CheckpointError: self.init(error.description)
        case let error as SafetensorsError: self.init(error.description)
        case let error as MixtralConfigurationError: self.init(error.description)
        case let error as MixtralCheckpointError: self.init(error.description)
        case let error as UpcyclingError: self.init(error.description)
        case let error as ControlError where error.isUnreachable:
            self.init(
                code: Self.coordinatorUnreachable,
                "\(error.message)\nIs moe-coordinator running there? Name another with --coordinator HOST:PORT or "
                    + "MOE_COORDINATOR.")
        case let error as ControlError:
            self.init(code: Self.notRefusals.contains(error.code) ? Self.failed : Self.refused, error.message)
        default: return nil
        }
    }

    /// What is asked for is not there, or the answer makes no sense.
    private static let notRefusals: Set<ControlError.Code> = [
        .unknownRun, .unknownRevision, .unknownLayer, .unknownWorker, .protocolViolation, .cancelled,
        .tampered, .unusableKeyFile,
    ]
}

/// Notes and errors, which are not part of the output.
enum StandardError {
    static func write(_ line: String) {
        // What a peer or a file said may be part of it. One that nobody reads any more is no reason to fail.
        try? FileHandle.standardError.write(contentsOf: Data((TerminalText.lines(line) + "\n").utf8))
    }
}
