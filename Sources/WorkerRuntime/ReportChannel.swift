import ControlProtocol

/// A connection over which one rank's reports go.
package protocol ReportChannel: Sendable {
    /// Returns when the coordinator has the reports for good.
    /// - Parameter reports: at least one, in their order; `sequence` counts this rank's reports of the incarnation, from 1.
    /// - Throws: `ReportRefused` when the coordinator will never take one of them, `IncarnationOver` when it will take none any more,
    ///   `CoordinatorBusy` when it takes none now; any other error when the connection failed.
    func send(_ reports: [Reports.Item]) async throws

    func close() async
}

/// The coordinator answered that it does not take the report, or one of several.
package struct ReportRefused: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) {
        self.description = description
    }
}

/// The coordinator answered that the run was started again since.
package struct IncarnationOver: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) {
        self.description = description
    }
}

/// The coordinator answered that it has no room now. The connection is as good as before: another one would only be more work.
package struct CoordinatorBusy: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) {
        self.description = description
    }
}
