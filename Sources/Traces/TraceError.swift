/// What is wrong with a file of loads, where, and what helps.
public struct TraceError: Error, Hashable, Sendable, CustomStringConvertible {
    public let file: String
    /// From 1; nil: the file as a whole.
    public let line: Int?
    public let problem: String
    public let remedy: String

    public init(_ file: String, line: Int? = nil, _ problem: String, remedy: String) {
        self.file = file
        self.line = line
        self.problem = problem
        self.remedy = remedy
    }

    public var description: String { "\(file)\(line.map { ", line \($0)" } ?? ""): \(problem); \(remedy)" }
}
