import ArgumentParser
import Foundation

/// Lets every option of a command be set in four places: flag > environment > configuration file > default.
///
/// An option is declared once, as swift-argument-parser wants it, with its default. `--learning-rate` is then also
/// `MOE_LEARNING_RATE` in the environment and `learning-rate` in the YAML file that `--config` (or `MOE_CONFIG`) names. What
/// those two set is put in front of the arguments before they are parsed, unless the arguments set it themselves; so one
/// parser converts and checks all values. An empty variable says nothing.
///
/// ```swift
/// @main struct Main {
///     static func main() async { await Settings.main(Serve.self) }
/// }
/// ```
public enum Settings {
    /// Parses the arguments, environment and configuration file.
    /// - Parameters:
    ///   - arguments: without the program's name.
    ///   - environment: all of the process.
    ///   - keys: names of the options that can be set elsewhere; nil: all. A file may then set those that the command does
    ///     not have, for other commands of the program do.
    ///   - file: a configuration file to read when the command has no option for one.
    /// - Throws: `SettingsError` for the environment and the file, and what `parseAsRoot` throws.
    public static func parse<Root: ParsableCommand>(
        _ root: Root.Type, arguments: [String] = Array(CommandLine.arguments.dropFirst()),
        environment: [String: String] = ProcessInfo.processInfo.environment, keys: [String]? = nil,
        file: String? = nil
    ) throws -> any ParsableCommand {
        let command = try CommandDescription(of: root, arguments: arguments)
        // A question about the program is answered whatever the settings are.
        if arguments.contains(where: { ["-h", "--help", "--help-hidden", "--version"].contains($0) }) {
            return try root.parseAsRoot(arguments)
        }
        var sources: [any SettingsSource] = [EnvironmentSource(environment)]
        if let path = command.configurationFile(environment: environment) ?? file {
            let file = try FileSource(path: path)
            // Files are written for the command that is meant when none is named; the others leave out what is not theirs.
            let usual = try CommandDescription(of: root, arguments: [])
            try file.rejectUnknownKeys(
                known: keys ?? command.keys + usual.keys, sections: command.sections + usual.sections)
            sources.append(file)
        }
        let settings = try command.options.compactMap { option in
            try command.sets(option) || keys?.contains(option.key) == false
                ? nil : sources.lazy.compactMap { try $0.setting(for: option) }.first
        }
        do {
            return try root.parseAsRoot(command.path + settings.flatMap(\.arguments) + command.arguments)
        } catch  where root.exitCode(for: error) == .validationFailure {
            throw command.explain(error, root: root, settings: settings)
        }
    }

    /// Parses and runs the program's command. Ends the process with a message on stderr, and exit code 64 for wrong usage,
    /// when either fails.
    public static func main<Root: ParsableCommand>(_ root: Root.Type) async {
        do {
            var command = try parse(root)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as SettingsError {
            root.exit(withError: ValidationError(error.description))
        } catch {
            root.exit(withError: error)
        }
    }
}

/// A command whose configuration file says more than values of options.
public protocol SettingsSections: ParsableCommand {
    /// The keys of what else may stand there; the command reads it itself.
    static var sections: [String] { get }
}

/// A command with options that share their names with other commands' and mean something else. What the environment and the file
/// say is not meant for them.
public protocol OwnOptions: ParsableCommand {
    /// Names of those that the arguments alone set, without dashes.
    static var ownOptions: [String] { get }
}

/// A value for one option, and where it was found.
struct Setting {
    let key: String
    /// As they would be given on the command line.
    let arguments: [String]
    /// The file or environment variable.
    let source: String
}

extension CommandDescription {
    /// Names the source of the setting that `error` complains about, if it does.
    fileprivate func explain<Root: ParsableCommand>(
        _ error: any Error, root: Root.Type, settings: [Setting]
    ) -> any Error {
        let message = root.message(for: error)
        let culprit = settings.first { setting in
            let flag = "--" + setting.key
            return message.contains("'\(flag)'") || message.contains("'\(flag) ") || message.hasPrefix("\(flag): ")
        }
        guard let culprit else { return error }
        let expected = options.first { $0.key == culprit.key }?.abstract
        return SettingsError.invalidValue(
            source: culprit.source, key: culprit.key, reason: message + (expected.map { " (\($0))" } ?? ""))
    }
}
