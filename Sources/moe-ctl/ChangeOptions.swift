import ArgumentParser
import ControlProtocol
import Foundation

/// What all commands have that change something about a run.
struct ChangeOptions: ParsableArguments {
    @Option(help: "Name of the run (default: the one that was started last).")
    var run: String?
    @OptionGroup var record: RecordOptions

    var dryRun: Bool { record.dryRun }
    var why: String? { record.why }
    var who: String { record.who }

    func why(otherwise reason: String) -> String { record.why(otherwise: reason) }
}

/// What is recorded of a change.
struct RecordOptions: ParsableArguments {
    @Flag(help: "Change nothing; show what would be.")
    var dryRun = false
    @Option(help: ArgumentHelp("The reason, which is recorded.", valueName: "text"))
    var why: String?

    func validate() throws {
        let limit = Limits.standard.reasonBytes
        if let why, why.isEmpty || why.utf8.count > limit {
            throw ValidationError("--why must have from 1 to \(limit) bytes, but has \(why.utf8.count)")
        }
    }

    /// The reason given, or else `reason`.
    func why(otherwise reason: String) -> String { why ?? Self.cut(reason, bytes: Limits.standard.reasonBytes) }

    /// Who asks, for the record.
    var who: String {
        let host = ProcessInfo.processInfo.hostName
        return Self.cut("\(NSUserName()) on \(host)", bytes: Limits.standard.whoBytes)
    }

    /// The beginning of `text`.
    private static func cut(_ text: String, bytes: Int) -> String {
        var text = text
        while text.utf8.count > bytes { text.removeLast() }
        return text
    }
}
