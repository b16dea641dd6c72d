// The SCPClient of Trilead, and of Ganymed: the same code in another package, which the tests put in here.

import com.trilead.ssh2.Connection;
import com.trilead.ssh2.SCPClient;
import java.io.File;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;

public class Trilead {
    public static void main(String[] words) throws Exception {
        if (words[0].equals("version")) {
            URI jar = Connection.class.getProtectionDomain().getCodeSource().getLocation().toURI();
            System.out.println(new File(jar).getCanonicalFile().getName().replaceAll(".*-|\\.jar$", ""));
            return;
        }
        boolean keep = words[1].equals("-p");
        String[] sources = Arrays.copyOfRange(words, keep ? 2 : 1, words.length - 1);
        String target = words[words.length - 1];
        Connection connection =
            new Connection(System.getenv("SCP_HOST"), Integer.parseInt(System.getenv("SCP_PORT")));
        connection.setServerHostKeyAlgorithms(new String[] {"ssh-rsa"});
        connection.setTCPNoDelay(true);
        connection.connect();
        File key = new File(System.getenv("SCP_RSA_KEY"));
        if (!connection.authenticateWithPublicKey(System.getenv("SCP_USER"), key, null)) {
            throw new Exception("not logged in");
        }
        SCPClient client = new SCPClient(connection);
        // The target is always a directory.
        boolean single = sources.length == 1;
        String dir = single ? new File(target).getParent() : target;
        if (words[0].equals("get")) {
            client.get(sources, dir);
        } else {
            // No shell sees the name in a record.
            String name = new File(target).getName().replaceAll("\\\\(.)", "$1");
            String[] names = single ? new String[] {name} : null;
            client.put(sources, names, dir, keep ? mode(sources[0]) : "0644");
        }
        connection.close();
    }

    static String mode(String path) throws Exception {
        return String.format("%04o", (Integer) Files.getAttribute(Paths.get(path), "unix:mode") & 07777);
    }
}
